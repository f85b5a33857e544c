"""Storage behind ``s3://``, which has no rename: what publication means there, and why it may end at any instruction.

A *temporary* is an object under its temporary key, a *final* object one under its final key; neither is ever seen in part,
because an object appears when its upload is completed, whole. Publication makes a second object of the first:

1. look: the final key must be free, the temporary be there with its recorded size (`publication.publish`);
2. begin a multipart upload to the final key, and let the server copy the temporary into its parts: nothing is seen yet;
3. look again, and complete the upload with ``If-None-Match: *``: the final object appears, or a key that was taken meanwhile is left alone;
4. prove: read the final object whole, and compare size and checksum with the recorded ones;
5. delete the temporary.

==========================  =================================================  ============================================
killed                      left                                               `publish` again
==========================  =================================================  ============================================
before or in 2              the temporary; an upload that nobody sees          copies anew; aborts older uploads to this key
in 3, before the server     as above                                           as above. A request that is still under way
completed it                                                                   fails, for its upload was aborted
in 3, after that, or in 4   both objects, of the same content                  finds the final object right (4), goes on at 5
in 5                        both, or the final one                             the same
==========================  =================================================  ============================================

What a copy that differs leaves (the server's fault: 4 fails) is deleted only while its ETag is the one that 3 was answered;
the temporary stays. A server that knows no ``If-None-Match`` (it says so, or ignores it) leaves the instant between the
second look and the completion, in which a stranger's object could be replaced; other publishers are kept out by the catalog.

Deleting an object aborts the uploads to its key too, so that no copy that was given up can appear later.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from bookkeeper.errors import StorageError
from bookkeeper.stageout.remote import RemoteSink, RemoteStore

PART: Final = 64 << 20
"""Bytes of an object that the server is asked to copy at once; more where the object would have too many parts."""

MOST_PARTS: Final = 10_000
_TAKEN: Final = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


@contextmanager
def _conditional(url: str) -> Iterator[None]:
    """Say `FileExistsError` where the server refuses because the key is taken, or being taken."""
    try:
        yield
    except OSError as error:
        response = getattr(error.__cause__, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        if code in _TAKEN:
            raise FileExistsError(errno.EEXIST, "it exists already", url) from error
        raise


class S3Sink(RemoteSink):
    """An object being written: parts, which become an object when it is finished."""

    def abandon(self) -> None:
        """Give the parts up; no object appears."""
        with suppress(OSError, StorageError), self.driver(self.url):
            self.stream.discard()
        self.stream.closed = True


class S3Store(RemoteStore):
    """A bucket, or a part of one."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.copies = True
        self._placed: dict[str, str] = {}

    def make_folder(self, url: str) -> None:
        """Do nothing: there are no folders, and a bucket is made by its owner."""

    def remove_folder(self, url: str) -> bool:
        """Do nothing: there are no folders."""
        return False

    def create(self, url: str, size: int) -> S3Sink:
        """Open a new object; that its name is new is looked up, and kept by the uniqueness of temporary names."""
        if self.look(url) is not None:
            raise FileExistsError(url)
        with self.driver(url):
            return S3Sink(url, self.fs.open(self._path(url), "wb", block_size=max(PART, -(-size // MOST_PARTS))))

    def write_small(self, url: str, data: bytes, *, replace: bool) -> None:
        """Write a small object; exclusively where the server heeds ``If-None-Match``, else after having looked."""
        if not replace and self.look(url) is not None:
            raise FileExistsError(url)
        with self.driver(url):
            self._unless_there("put_object", url, guarded=not replace, Body=data)

    def place(self, temporary: str, final: str) -> None:
        """Let the server copy an object, and complete the copy unless the final key is taken."""
        with self.driver(final):
            self._abort(final)
            there = self.look(temporary)
            if there is None:
                raise FileNotFoundError(temporary)
            if there.size == 0:  # a copy must have parts, and a part bytes
                self._placed[final] = self._unless_there("put_object", final, Body=b"")["ETag"]
                return
            upload = self._call("create_multipart_upload", final)["UploadId"]
            try:
                parts = self._copy(temporary, final, upload, there.size)
                if self.look(final) is not None:
                    raise FileExistsError(final)
                answer = self._unless_there(
                    "complete_multipart_upload", final, UploadId=upload, MultipartUpload={"Parts": parts}
                )
            except BaseException:
                with suppress(OSError, StorageError):
                    self._call("abort_multipart_upload", final, UploadId=upload)
                raise
            self._placed[final] = answer.get("ETag", "")

    def take_back(self, final: str) -> None:
        """Delete a final object if it is still the one that `place` made."""
        with self.driver(final):
            self.fs.invalidate_cache()
            with suppress(FileNotFoundError):
                if self._call("head_object", final)["ETag"] == self._placed.get(final):
                    self._call("delete_object", final)

    def remove(self, url: str) -> bool:
        """Delete an object, and abort what would become one; return whether there was one."""
        with self.driver(url):
            self._abort(url)
        return super().remove(url)

    def abort_uploads(self, folder: str, before: float) -> int:
        """Abort the uploads below a folder that began before that time; return how many. Killed processes leave them."""
        with self.driver(folder):
            return sum(
                self._give_up(one) for one in self._uploads(folder + "/") if one["Initiated"].timestamp() < before
            )

    def _copy(self, temporary: str, final: str, upload: str, size: int) -> list[dict[str, Any]]:
        bucket, key, _ = self.fs.split_path(self._path(temporary))
        step, parts = max(PART, -(-size // MOST_PARTS)), []
        for number, start in enumerate(range(0, size, step), 1):
            answer = self._call(
                "upload_part_copy",
                final,
                PartNumber=number,
                UploadId=upload,
                CopySource={"Bucket": bucket, "Key": key},
                CopySourceRange=f"bytes={start}-{min(start + step, size) - 1}",
            )
            parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
        return parts

    def _unless_there(self, method: str, url: str, *, guarded: bool = True, **request: Any) -> Any:
        """Ask for an object to be made if there is none; without that condition where the server does not know it."""
        if guarded:
            try:
                with _conditional(url):
                    return self._call(method, url, IfNoneMatch="*", **request)
            except OSError as error:
                if error.errno != errno.ENOSYS and "NotImplemented" not in str(error.__cause__):
                    raise
        return self._call(method, url, **request)

    def _abort(self, url: str) -> None:
        """Abort the uploads to exactly this key; a server that may not or cannot list them has none to tell."""
        key = self.fs.split_path(self._path(url))[1]
        with suppress(OSError):
            for one in self._uploads(url):
                if one["Key"] == key:
                    self._give_up(one)

    def _uploads(self, url: str) -> list[dict[str, Any]]:
        """Return the uploads whose keys begin with that of a URL, and are not completed."""
        bucket, prefix, _ = self.fs.split_path(self._path(url))
        prefix += "/" if url.endswith("/") and not prefix.endswith("/") else ""
        answer = self.fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
        return [{**one, "Bucket": bucket} for one in answer.get("Uploads", [])]

    def _give_up(self, one: dict[str, Any]) -> bool:
        with suppress(FileNotFoundError):
            self.fs.call_s3("abort_multipart_upload", Bucket=one["Bucket"], Key=one["Key"], UploadId=one["UploadId"])
            return True
        return False

    def _call(self, method: str, url: str, **request: Any) -> Any:
        from botocore.exceptions import ClientError
        from s3fs.errors import translate_boto_error

        bucket, key, _ = self.fs.split_path(self._path(url))
        try:
            return self.fs.call_s3(method, self.fs.s3_additional_kwargs, Bucket=bucket, Key=key, **request)
        except ClientError as error:
            raise translate_boto_error(error) from error
        finally:
            self.fs.invalidate_cache()
