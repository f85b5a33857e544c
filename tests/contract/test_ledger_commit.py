"""stage, commit and published: whole or not at all, repeatable, and decided by the manifest alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bookkeeper.errors import Fenced, NotAllowed, NotFound, RolledBack
from bookkeeper.protocol import Fate, FileMark, Manifest, Mark
from ledgers import Job, World

Make = Callable[..., World]


def files_of(job: Job) -> list[FileMark]:
    return [FileMark(id, Mark.CONSUMED) for id in job.ids.values()]


def another(**addresses: str) -> Callable[[Job], Manifest]:
    """A manifest with an output whose addresses are not what they should be."""
    return lambda job: job.manifest(replace(job.output(), **addresses))


def wrong_number(job: Job) -> Manifest:
    return Manifest([*files_of(job)[:-1], FileMark(99_999, Mark.CONSUMED)], [job.output()])


def of_another(job: Job) -> Manifest:
    other = job.world.start()
    other.take(1)
    return Manifest([*files_of(job)[:-1], *files_of(other)], [job.output()])


def name_taken(job: Job) -> Manifest:
    other = job.world.start()
    other.take(1)
    other.ledger.commit(other.key, other.manifest(other.output("same.root")))
    return job.manifest(job.output("same.root"))


REFUSED: dict[str, tuple[Callable[[Job], Manifest], str]] = {
    "a file is missing": (lambda job: Manifest(files_of(job)[1:], [job.output()]), "not exactly the 2"),
    "a file too many": (
        lambda job: Manifest([*files_of(job), FileMark(99, Mark.CONSUMED)], [job.output()]),
        "decides 3 files",
    ),
    "a file twice": (lambda job: Manifest([files_of(job)[0]] * 2, [job.output()]), "not exactly the 2"),
    "a file nobody has": (wrong_number, "not exactly the 2"),
    "a file of another process": (of_another, "not exactly the 2"),
    "a file left opened": (lambda job: job.manifest(job.output(), f000=Mark.OPENED), "undecided"),
    "no output": (lambda job: job.manifest(), "none was declared"),
    "an output though none was declared": (
        lambda job: job.manifest(job.output(), no_output=True),
        "says that there are none",
    ),
    "the same final name twice": (
        lambda job: job.manifest(job.output("a.root", n=0), job.output("a.root", n=1)),
        "taken",
    ),
    "the same temporary name twice": (
        lambda job: job.manifest(
            job.output("a.root"), replace(job.output("b.root"), temp_url=job.output("a.root").temp_url)
        ),
        "taken",
    ),
    "a final name that counts elsewhere": (name_taken, "taken"),
    "a final name in another place": (another(final_url="/data/alice/thesis.root"), "no upload"),
    "a final name above the destination": (another(final_url="/results/../etc/x.root"), "no upload"),
    "a final name that is hidden": (another(final_url="/results/.profile"), "cannot be"),
    "the name of the destination's claim": (another(final_url="/results/.bookkeeper/claim"), "no upload"),
    "a temporary that is none": (another(temp_url="/data/alice/thesis.root"), "cannot be"),
    "a temporary of another destination": (another(destination="/data/alice"), "no upload"),
    "a destination that is hidden": (another(destination="/results/.bookkeeper/1-a-0"), "cannot be"),
    "a temporary behind a cache": (another(temp_url="simplecache::file:///results/x"), "cannot be"),
    "the upload of another process": (
        lambda job: job.manifest(replace(job.output(), temp_url=f"/results/.bookkeeper/{job.key.id + 1}-a-0/x")),
        "no upload",
    ),
    "an upload by another token": (
        lambda job: job.manifest(replace(job.output(), temp_url=f"/results/.bookkeeper/{job.key.id}-a-0/x")),
        "no upload",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_manifest_that_is_not_what_it_must_be_rolls_everything_back(world: World, case: str) -> None:
    job = world.start()
    names = job.take(2)
    job.open()
    make, words = REFUSED[case]
    manifest = make(job)
    with pytest.raises(RolledBack, match=words):
        world.ledger.commit(job.key, manifest)
    assert world.state(job) == "rolled_back"
    assert set(names) <= set(world.files("available"))
    assert world.value("SELECT count(*) FROM outputs WHERE process_id = ?", job.key.id) == 0
    assert [world.attempts(name) for name in names] == [(0, 0), (0, 0)]
    with pytest.raises(Fenced, match="commit refused"):
        world.ledger.commit(job.key, job.manifest(job.output()))


@pytest.mark.parametrize(
    ("marked", "decided"),
    [(Mark.OPENED, Mark.UNREAD), (Mark.CONSUMED, Mark.UNREAD), (Mark.CONSUMED, Mark.SKIPPED), (Mark.CONSUMED, Mark.FAILED),
     (Mark.SKIPPED, Mark.CONSUMED), (Mark.FAILED, Mark.CONSUMED), (Mark.SKIPPED, Mark.FAILED), (Mark.FAILED, Mark.UNREAD)],
)  # fmt: skip
def test_a_manifest_that_contradicts_the_marks_is_refused(world: World, marked: Mark, decided: Mark) -> None:
    job = world.start()
    job.take(2)
    job.mark(marked, "f000", reason="because")
    with pytest.raises(RolledBack, match="contradicts"):
        job.commit(f000=decided)
    assert world.files("committed") == []


def test_marks_may_be_lost_for_the_manifest_decides(world: World) -> None:
    job = world.start()
    job.take()
    job.commit()
    assert len(world.files("committed")) == 4
    assert world.value("SELECT count(*) FROM consumption WHERE committed = 1 AND state = 'consumed'") == 4


def test_a_commit_repeated_gets_the_same_answer_and_changes_nothing(world: World) -> None:
    job = world.start()
    job.take()
    answer = job.commit()
    before = world.dump(clocks=True)
    assert job.commit() == answer
    assert job.commit(f000=Mark.FAILED) == answer  # what was decided is decided
    assert world.ledger.roll_back(job.key, "too late") is Fate.COMMITTED
    assert world.dump(clocks=True) == before
    assert [(one.state, one.record) for one in answer] == [("committed", job.output())]


def test_an_output_is_required_where_the_project_says_so(make: Make) -> None:
    world = make(2, output_required=True)
    job = world.start()
    job.take(1)
    with pytest.raises(RolledBack, match="requires an output"):
        world.ledger.commit(job.key, job.manifest(no_output=True))
    job = world.start()
    job.take()
    job.commit()
    assert len(world.files("committed")) == 2


def test_several_outputs_are_committed_together(world: World) -> None:
    job = world.start()
    job.take()
    outputs = [job.output(n=n) for n in range(3)]
    assert [one.record for one in world.ledger.commit(job.key, job.manifest(*outputs))] == outputs
    assert world.ledger.outputs_of(job.key) == world.ledger.to_publish(job.key)


def test_the_final_name_of_an_output_that_never_counted_is_free(world: World) -> None:
    first, second = world.start(), world.start()
    first.take(1)
    world.ledger.stage(first.key, first.manifest(first.output("same.root")))
    first.roll_back("gave up")
    second.take(1)
    (stored,) = world.ledger.commit(second.key, second.manifest(second.output("same.root")))
    assert stored.state == "committed"


def test_a_commit_after_the_lease_but_before_anyone_noticed_counts(world: World) -> None:
    job = world.start()
    job.take()
    world.late(job)
    job.commit()
    assert world.catalog.expire() == 0
    assert len(world.files("committed")) == 4


@pytest.mark.parametrize("how", ["rolled back", "expired", "fenced"])
def test_a_commit_that_comes_too_late_changes_nothing(world: World, how: str) -> None:
    job = world.start()
    job.take()
    if how == "rolled back":
        job.roll_back()
    elif how == "expired":
        world.late(job)
        world.catalog.expire()
    else:
        world.end(fence=True)
    heir = world.start(world.recover() or "p")
    heir.take()
    before = world.dump(clocks=True)
    with pytest.raises(Fenced):
        job.commit()
    assert world.dump(clocks=True) == before
    heir.commit()
    assert world.column("SELECT DISTINCT process_id FROM ledger") == [heir.key.id]


# -- staged ------------------------------------------------------------------------------------------------------------


def test_a_staged_process_holds_its_files_and_commits_what_it_staged(world: World) -> None:
    job = world.start()
    job.take()
    job.stage()
    assert (world.state(job), len(world.files("held"))) == ("staged", 4)
    (stored,) = job.commit()
    assert (stored.state, stored.record) == ("committed", job.output())
    assert world.value("SELECT count(*) FROM outputs") == 1


def test_staging_repeated_changes_nothing_and_with_other_outputs_is_refused(world: World) -> None:
    job = world.start()
    job.take()
    job.stage()
    before = world.dump(clocks=True)
    job.stage()
    with pytest.raises(NotAllowed, match="staged"):
        world.ledger.stage(job.key, job.manifest(job.output(n=5)))
    assert world.dump(clocks=True) == before


def test_a_staged_process_takes_and_marks_nothing_more(world: World) -> None:
    job = world.start()
    job.take(1)
    job.stage()
    with pytest.raises(NotAllowed, match="staged"):
        job.take()
    with pytest.raises(NotAllowed, match="staged"):
        job.open()
    assert world.ledger.heartbeat(job.key) == job.started.lease


@pytest.mark.parametrize("change", ["size", "checksum", "final_url", "temp_url", "missing", "extra"])
def test_outputs_that_differ_from_the_staged_ones_are_refused(world: World, change: str) -> None:
    job = world.start()
    job.take()
    job.stage()
    one = job.output()
    different = {
        "size": [replace(one, size=99)],
        "checksum": [replace(one, checksum="adler32:0000000b")],
        "final_url": [replace(one, final_url="/results/other.root")],
        "temp_url": [replace(one, temp_url=job.output(n=2).temp_url)],
        "missing": [job.output(n=2)],
        "extra": [one, job.output(n=2)],
    }[change]
    with pytest.raises(RolledBack):
        world.ledger.commit(job.key, job.manifest(*different))
    assert world.column("SELECT state FROM outputs") == ["discarded"]
    assert len(world.files("available")) == 4


def test_a_staged_process_cannot_say_afterwards_that_it_has_no_output(world: World) -> None:
    job = world.start()
    job.take()
    job.stage()
    with pytest.raises(RolledBack):
        world.ledger.commit(job.key, job.manifest(no_output=True))


@pytest.mark.parametrize("case", ["missing file", "taken final name"])
def test_a_stage_that_is_refused_rolls_back(world: World, case: str) -> None:
    job = world.start()
    job.take(2)
    manifest = job.manifest(job.output("shared.root"))
    if case == "missing file":
        manifest = Manifest(manifest.files[1:], manifest.outputs)
    else:
        other = world.start()
        other.take(1)
        world.ledger.stage(other.key, other.manifest(other.output("shared.root")))
    with pytest.raises(RolledBack):
        world.ledger.stage(job.key, manifest)
    assert world.state(job) == "rolled_back"


def test_a_stage_is_on_disk_as_a_deadline_that_a_heartbeat_moves(world: World) -> None:
    job = world.start(lease=100.0)
    job.take()
    job.stage()
    world.late(job)
    world.ledger.heartbeat(job.key)
    assert world.catalog.expire() == 0
    world.late(job)
    assert world.catalog.expire() == 1
    assert world.column("SELECT state FROM outputs") == ["discarded"]


# -- publication -------------------------------------------------------------------------------------------------------


def test_an_output_is_published_once_it_counts(world: World) -> None:
    job = world.start()
    job.take()
    job.stage()
    (output,) = world.ledger.outputs_of(job.key)
    with pytest.raises(NotAllowed, match="staged"):
        world.ledger.published(job.key, [output.id])
    job.commit()
    job.publish()
    before = world.dump(clocks=True)
    job.publish()
    assert world.dump(clocks=True) == before
    assert world.ledger.to_publish(job.key) == ()
    with pytest.raises(NotFound):
        world.ledger.published(job.key, [output.id + 1])


def test_the_next_process_learns_what_is_still_to_be_published(world: World) -> None:
    job, other = world.start(), world.start()
    job.take(1)
    (stored,) = job.commit()
    assert world.ledger.to_publish(other.key) == (stored,)
    world.ledger.published(other.key, [stored.id])
    assert world.catalog.project("p").status().unpublished == 0


def test_a_changed_file_that_a_refused_manifest_names_parks_its_partition(make: Make) -> None:
    world = make(files=2, partition_by={"files": 2})
    job = world.start()
    job.take()
    changed = FileMark(job.ids["f000"], Mark.FAILED, reason="changed since it was declared", changed=True)
    manifest = Manifest([changed, FileMark(job.ids["f001"], Mark.CONSUMED)], [job.output()])
    with pytest.raises(RolledBack):
        world.ledger.commit(job.key, manifest)
    assert world.files("parked") == ["f000", "f001"]
    assert "f000 in its partition changed" in world.reason("f001")
