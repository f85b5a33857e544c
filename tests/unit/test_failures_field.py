"""What the field's systems say, theme by theme: texts in the short form of our own, as their programs print them."""

from __future__ import annotations

import pytest

from bookkeeper.failures import classify_failure

TRANSIENT = [
    "Error in <TNetXNGFile::Open>: [ERROR] Operation expired",
    "[FATAL] Connection error",
    "[ERROR] Server responded with an error: [3012] Internal timeout",
    "Error in <TNetXNGFile::Open>: [FATAL] Redirect limit has been reached",
    "[FATAL] Socket timeout",
    "OSError: XRootD error: [ERROR] Operation expired in file root://a.b//c.root",
    "[ERROR] Server responded with an error: [3005] Unable to open file; Input/output error",
    "cp: error reading '/eos/user/a.root': Input/output error",
    "ls: cannot access '/cvmfs/cms.cern.ch': Transport endpoint is not connected",
    "cannot stat '/nfs/a.root': Stale file handle",
    "gfal-copy error: 110 (Connection timed out) - srm-ifce err: Communication error on send",
    "SRM_INTERNAL_ERROR: the service is busy",
    "curl: (56) Recv failure: Connection reset by peer",
    "requests.exceptions.HTTPError: 502 Server Error: Bad Gateway for url: https://rucio.cern.ch",
    "HTTP 429 Too Many Requests",
    "socket.gaierror: [Errno -3] Temporary failure in name resolution",
    "sqlite3.OperationalError: database is locked",
    "botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL",
    "An error occurred (SlowDown) when calling the GetObject operation: Please reduce your request rate",
    "fn-socket.c: connect to squid timed out [frontier.c:1165]: No more servers/proxies",
    "urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(host='a', port=443): Read timed out.",
    "aiohttp.client_exceptions.ServerDisconnectedError: Server disconnected",
    "Failed to select pool: all pools are offline",
    "XRootD timeout on xrootd://cms-xrd.cern.ch//store/…",
]
EXECUTOR = [
    "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.batch cgroup.",
    "slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 2024-01-01T00:00:00 DUE TO TIME LIMIT ***",
    "kernel: Out of memory: Killed process 991 (python) total-vm:12GB",
    "Memory cgroup out of memory: Killed process 12",
    "distributed.scheduler.KilledWorker: Attempted to run task x on 3 different workers",
    "distributed.comm.core.CommClosedError: in <TCP (closed)>: Stream is closed",
    "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly",
    "=>> PBS: job killed: walltime 3610 exceeded limit 3600",
    "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit",
    "TERM_RUNLIMIT: job killed after reaching LSF run time limit",
    "run.sh: line 4:  811 Killed                  ./mass",
    "Error from slot1@n1: memory usage exceeded request_memory",
    "Job has gone over memory limit of 2048 megabytes. Peak usage: 2301 megabytes.",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 4.00 GiB for an array",
    "RuntimeError: CUDA error: no CUDA-capable device is detected",
    "torch.cuda.OutOfMemoryError: CUDA out of memory.",
    "CUDA driver version is insufficient for CUDA runtime version",
    "OSError: [Errno 28] No space left on device: '/tmp/x'",
    "FATAL:   container creation failed: mount error: no loop devices available",
    "mkdir: cannot create directory '/scratch/x': Read-only file system",
    "srun: error: Node failure on n12",
    "The job was preempted by a job of higher priority",
    "OpenBLAS blas_thread_init: pthread_create failed for thread 3 of 8: Resource temporarily unavailable",
]
CONFIGURATION = [
    "Error in <TNetXNGFile::Open>: [ERROR] Server responded with an error: [3011] No such file or directory",
    "Error in <TNetXNGFile::Open>: [FATAL] Auth failed: No protocols left to try",
    "[ERROR] Server responded with an error: [3010] permission denied",
    "ERROR: Your proxy has expired",
    "Error: Couldn't find a valid proxy.",
    "kinit: Ticket expired while renewing credentials",
    "SSL: CERTIFICATE_VERIFY_FAILED certificate verify failed: certificate has expired",
    "OSError: [Errno 122] Disk quota exceeded",
    "cp: error writing '/eos/user/j/a.root': No space left on device",
    "./mass: error while loading shared libraries: libCore.so.6.30: cannot open shared object file: No such file",
    "./mass: /lib64/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by ./mass)",
    "bash: cmsRun: command not found",
    "bash: ./mass: Permission denied",
    "ModuleNotFoundError: No module named 'uproot'",
    "  File \"a.py\", line 3\n    def f(\n         ^\nSyntaxError: '(' was never closed",
    "yaml.scanner.ScannerError: mapping values are not allowed here",
    "mass.py: error: the following arguments are required: --output",
    "uproot.exceptions.KeyInFileError: not found: 'Eventz' (with any cycle number)",
    "KeyError: 'Muon_pt'",
    'Error in <TTreeFormula::Compile>:  Bad numerical expression : "mupt"',
    "input_line_4:1:1: error: use of undeclared identifier 'foo'",
    "An exception of category 'ConfigFileReadError' occurred while",
    "FATAL:   could not open image /cvmfs/x.sif: no such file or directory",
    "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: https://a",
    "rucio.common.exception.DataIdentifierNotFound: Data identifier not found.",
    "exec ./mass: Exec format error",
    "fatal: slurm: sbatch: error: Batch job submission failed: Invalid partition name specified",
    "RuntimeError: CUDA error: no kernel image is available for execution on the device",
]
CORRUPTED = [
    "Error in <TFile::Init>: /data/a.root not a ROOT file",
    "Error in <TFile::Init>: file a.root is truncated at 100 bytes: should be 200, trying to recover",
    "Warning in <TFile::Init>: file a.root probably not closed, trying to recover",
    "Error in <TBasket::ReadBasketBuffers>: fNbytes = 12, fKeylen = 3",
    "Error R__unzip_header: error in header.  Values: 0",
    "uproot.deserialization.DeserializationError: while reading TTree",
    "ValueError: not a ROOT file: first four bytes are b'<!DO' rather than b'root'",
    "zlib.error: Error -3 while decompressing data: invalid distance too far back",
    "_lzma.LZMAError: Corrupt input data",
    "gzip: a.gz: unexpected end of file",
    "gzip: stdin: not in gzip format",
    "OSError: Unable to open file (file signature not found)",
    "pyarrow.lib.ArrowInvalid: Parquet magic bytes not found in footer",
    "checksum mismatch for a.root: expected 1a2b, got 3c4d",
    "[ERROR] Server responded with an error: [3019] Checksum error",
    "EOFError: Ran out of input",
    "zipfile.BadZipFile: File is not a zip file",
    "Fatal Root Error: @SUB=TBasket::Streamer",
    "the file is a zombie",
]
CRASH = [
    " *** Break *** segmentation violation",
    "Segmentation fault (core dumped)",
    "terminate called after throwing an instance of 'std::runtime_error'",
    "mass: a.cc:3: int main(): Assertion `x' failed.",
    "double free or corruption (!prev)",
    "malloc(): corrupted top size",
    "*** stack smashing detected ***: terminated",
    "Floating point exception (core dumped)",
    "Illegal instruction (core dumped)",
    "Bus error (core dumped)",
    "RecursionError: maximum recursion depth exceeded",
    "AssertionError: weights must be positive",
    "-------- EEEE ------- G4Exception-START -------- EEEE -------",
    "An exception of category 'StdException' occurred while",
    "RuntimeError: CUDA error: device-side assert triggered",
    "Fatal Python error: Segmentation fault",
    "A fatal system signal has occurred: segmentation violation",
    "ERROR: AddressSanitizer: heap-use-after-free on address 0x60",
]
UNKNOWN = [
    "",
    "exit code 1",
    "An error has occurred",
    "Processing event 100\nProcessing event 200",
    "Info in <TCanvas::Print>: png file a.png has been created",
    "0 errors, 0 warnings",
    "Processing /eos/user/a/job_1.root\nRead 100 events\nDone",
    "INFO: connection timeout set to 30 s\nINFO: memory limit 2 GB",
    "time limit 3600 s, memory 2000 MB requested\nslurm job 12 started on node n1",
    "number of bad events: 0\ncorrupt baskets: 0",
    "relative error 0.1%\nstatistical error 3.4",
    "+ export X509_USER_PROXY=/tmp/x509up_u1\n+ source /cvmfs/cms.cern.ch/cmsset_default.sh",
    "checksum adler32 of a.root: 1a2b3c4d ok",
    "options: --catch-segfault=no --timeout=5",
    "All 12000 events processed successfully",
]

CASES = [
    (category, text)
    for category, texts in {
        "transient_io": TRANSIENT,
        "executor": EXECUTOR,
        "configuration": CONFIGURATION,
        "corrupted_input": CORRUPTED,
        "analysis_crash": CRASH,
        "unknown": UNKNOWN,
    }.items()
    for text in texts
]


@pytest.mark.parametrize(("category", "text"), CASES)
def test_a_text_of_the_field(category: str, text: str) -> None:
    assert classify_failure(stderr=text, exit_code=1) == category
    assert classify_failure(RuntimeError(f"the job failed\nstderr:\n{text}")) == category
