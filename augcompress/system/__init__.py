"""The machine: cores, memory, progress on a terminal.  No torch."""

from augcompress.system.cpus import available_cpus, has_vnni
from augcompress.system.memory import keep_freed_memory
from augcompress.system.progress import ConsoleProgress, print_sentence, stderr_console
from augcompress.system.reporter import Reporter, SilentReporter
