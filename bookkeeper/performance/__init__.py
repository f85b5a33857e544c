"""What a job costs: wall time, memory, CPU time and bytes of its whole process tree, and how fast it reads its input.

`PerformanceRecorder` measures, a thread of its own looks at the tree a few times a second::

    with PerformanceRecorder("analysis_job:job_7") as rec:
        proc = subprocess.Popen(cmd, shell=True)
        rec.monitor_process(proc.pid)
        proc.communicate()
    rec.save(perf_path_for("job_7.done"))  # job_7.perf.json

The names, the rounding and the fields of the JSON are those of RDFAnalyzerCore's ``performance_recorder``.
"""

from bookkeeper.performance.jobs import estimate_job_input_bytes, perf_path_for
from bookkeeper.performance.recorder import PerformanceRecorder

__all__ = ["PerformanceRecorder", "estimate_job_input_bytes", "perf_path_for"]
