"""What the lines of one crash say: the task, RIP, the frames and whose they are.  See `triage.crash`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from probes.model import LogRecord
from triage.catalog import in_tree
from triage.model import Signal

MAX_FRAMES = 200

# Kernels before 4.9 print the address twice, powerpc prints it in brackets.
_RIP = re.compile(
    r"(?:(?:RIP|EIP|pc)\s*: (?:[0-9a-f]{2,4}:)?|NIP (?=\[))(?:\[?<?[0-9a-f]{8,16}>?\]?\s*){0,2}"
    r"([\w.$]+)(?:\+0x|$|/| \()"
)
_IN_MODULE = re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+\s*\[([\w-]+)")
_FRAME = re.compile(
    r"(\?\s+)?(?<![\w.$])([A-Za-z_][\w.$]*)(?:\+0x[0-9a-f]+/0x[0-9a-f]+|\+\d+/\d+\])(?:\s+\[([A-Za-z][\w-]*)[^\]]*\])?"
)
# What scripts/decode_stacktrace.sh makes of a frame: the place in the source where the offset was.
_DECODED = re.compile(
    r"(\?\s+)?([A-Za-z_][\w.$]*) \(((?:[\w.-]*/)+[\w.-]+\.[chS]):\d+[^\[\]]{0,400}\)(?:\s+\[?([A-Za-z][\w-]*)\]?)?\s*\Z"
)
_COMM = re.compile(r"(?:Comm: |task )([^:\s][^:]{0,15}?)(?:$|\s+(?:Kdump|Tainted|Not tainted|blocked)|:\d+)")
_TAINT = re.compile(r"(?:Tainted: (?=[A-Z])|(?=Not tainted))(Not tainted|(?:[A-Z] *)+)")
_PATH = re.compile(r"(?:at |in )((?:[\w.-]+/)+[\w.-]+\.[chS])")
# Code of the kernel that finds what other code has broken, or that is called with what nobody may call it.
_DETECTOR = re.compile(
    r"(?:lib/(?:refcount|list_debug|usercopy|kobject|debugobjects|string\w*)|mm/(?:slub|slab|usercopy)|kernel/locking/\w+"
    r"|fs/(?:proc/generic|sysfs/\w+|kernfs/dir)|mm/(?:vmalloc|page_alloc|util|slab_common|ioremap|memory)|kernel/dma/\w+"
    r"|arch/\w+/mm/ioremap|kernel/irq/(?:manage|chip|irqdomain)|drivers/iommu/dma-iommu|kernel/(?:softirq|workqueue)"
    r"|kernel/time/timer)\.c|kernel/dma/\w+\.h|include/"
)
_FINDER = re.compile(
    r"refcount_warn_saturate|__list_\w+_valid|usercopy_abort|kmem_cache_|__?slab_|slab_err|object_err|print_trailer"
    r"|dump_stack|panic|kfree|___?slab|check_slab|free_to_partial|on_freelist|alloc_debug|free_debug|__warn|report_bug"
    r"|proc_register|sysfs_warn_dup|__?fortify_|bad_page|dump_backtrace|show_stack|unwind_backtrace"
)
# The allocators walk lists that lie in free memory: who wrote to it last made them stumble, and is long gone.
_ALLOCATOR = re.compile(
    r"_*(?:kmem_cache_alloc|kmalloc|kzalloc|krealloc|slab_alloc|slub_alloc|cache_alloc_refill|get_freepointer"
    r"|deactivate_slab|get_(?:any_)?partial|unfreeze_partials|put_partials|flush_cpu_slab|rmqueue|free_one_page"
    r"|free_pcppages|get_page_from_freelist|prep_new_page)"
)
# Where a CPU waits: for work, for another CPU, for an answer over the bus, for a slow console, for the firmware.
_WAITING = re.compile(
    r"(?:(?:pv_)?native_safe_halt|default_idle\w*|acpi_\w+|mwait_idle\w*|intel_idle\w*|cpuidle_\w+|poll_idle|arch_cpu_idle"
    r"|cpu_do_idle|smp_call_function\w*|_*csd_lock_wait\w*|multi_cpu_stop|native_flush_tlb_\w+|flush_tlb_\w+|on_each_cpu\w*"
    r"|stop_(?:one_cpu|machine)\w*|generic_exec_single|text_poke_\w+|cpu_stop_\w+|pci_(?:mmcfg|conf1)_(?:read|write)"
    r"|(?:raw_)?pci_(?:generic_config_)?read\w*|ioread(?:8|16|32|64)(?:be)?|__raw_read[bwlq]|io_serial_in|mem_serial_in"
    r"|wait_for_(?:xmitr|lsr)|serial8250_\w+|uart_console_write|console_(?:unlock|emit_next_record|flush_all))\Z"
)
_LOCKUP = ("soft-lockup", "hard-lockup", "rcu-stall", "workqueue-lockup")
_STRAY = ("null-deref", "page-fault", "general-protection", "oops")
"""The crashes over a pointer, not over a check."""
_SCHEDULER = re.compile(
    r"_*(?:schedule|context_switch|preempt_schedule|io_schedule|wait_for_common|wait_for_completion)"
)
_WORK = re.compile(r"(?:in-flight|pending): (?:\d+(?:\(RESCUER\))?:)?([A-Za-z_][\w.$]*)")
_QUEUE = re.compile(r"Workqueue: \S+ ([A-Za-z_][\w.$]*)(?:\s+\[([\w-]+)\])?")
_UNLOADED = re.compile(r"\[last unloaded: ([\w-]+)")
_NOTE = re.compile(r"note: ([^\[\s]{1,15})\[\d+\] exited with")
_PART = re.compile(
    r"Call [Tt]race|Modules linked in|RIP: |[RE]?[A-D]X: |R\d\d: |x\d+ ?: |[CDEFG]S: |CR2: |Code: |</?TASK>|PGD |#PF"
    r"|pstate|[ls][rp] : |---\[ end|pc : |Hardware name|Workqueue: |CPU: |PKRU|DR\d: |Tainted|Not tainted|note: "
    r"|(?:Read|Write) of size|Slab 0x|Object (?:0x|[0-9a-f]{8})|Redzone |Padding |Allocated in |Freed in |Showing busy"
    r"|workqueue \w+: flags|  pwq \d|    (?:in-flight|pending): |={20}|-{20}"
)


class Crash:
    """A crash whose lines are being read, one by one."""

    def __init__(self, record: LogRecord, kind: str, modules: Mapping[str, str]) -> None:
        self.record = record
        self.quiet = 0
        self.body = 0
        self.fresh = True
        self._modules = modules
        self._fields: dict[str, str] = {"kind": kind}
        self._frames: list[tuple[str, str]] = []
        self._left_overs: dict[str, None] = {}
        self._rip: str | None = None
        self._queued: tuple[str, str] | None = None

    def head(self, head: Signal, kind: str) -> None:
        """Take one of its head lines, which is a signal already."""
        if kind == "panic":
            self._fields["panic"] = "yes"
        for name, value in head.fields.items():
            self._fields.setdefault(name, value)
        self._fields["heads"] = ",".join(dict.fromkeys([*self._fields.get("heads", "").split(","), kind])).strip(",")
        self.quiet = 0

    def line(self, message: str) -> None:
        """Take a line; `quiet` counts those since the last that said anything of it."""
        before = self.body
        rip = _RIP.search(message)
        if rip and self._rip is None and not message.lstrip().startswith("mce"):
            self._rip = rip[1]
            if rip[1][:2] == "0x":  # no function: a pointer to code that is none, or no longer
                self._fields["nowhere"] = rip[1]
                self.quiet, self.body = 0, self.body + 1
                return
            inside = _IN_MODULE.search(message, rip.start())
            decoded = None if inside else _DECODED.match(message, rip.start(1))
            self._fields["symbol"] = rip[1]
            self._fields["module"] = (
                self._decoded(decoded) if decoded else self._name(rip[1], inside[1] if inside else None) or "kernel"
            )
            self._fields["by"] = "rip"
            self.body += 1
        elif not rip and "+" in message and "/" in message and "Code:" not in message:
            for unreliable, symbol, module in _FRAME.findall(message):
                self.body += 1
                if len(self._frames) >= MAX_FRAMES or _FINDER.match(symbol):
                    continue
                if not unreliable:
                    self._frames.append((symbol, self._name(symbol, module or None) or "kernel"))
                elif module:
                    self._left_overs.setdefault(module.replace("-", "_"))
        elif not rip and ".c:" in message and (decoded := _DECODED.match(message.lstrip())):
            self.body += 1
            if not decoded[1] and len(self._frames) < MAX_FRAMES and not _FINDER.match(decoded[2]):
                self._frames.append((decoded[2], self._decoded(decoded)))
        queued = _QUEUE.search(message)
        if queued and self._queued is None:
            self._queued = (queued[1], self._name(queued[1], queued[2]) or "kernel")
        for name, regex in (
            ("comm", _COMM),
            ("taint", _TAINT),
            ("path", _PATH),
            ("comm", _NOTE),
            ("work", _WORK),
            ("unloaded", _UNLOADED),
        ):
            found = regex.search(message)
            if found:
                self._fields.setdefault(name, found[1].strip())
        if self.body > before or _PART.search(message):
            self.quiet = 0
            self.body += 1
        else:
            self.quiet += 1
        if "end trace" in message or self.body > before:
            self.fresh = False

    def signal(self) -> Signal:
        """Return what its lines say together."""
        fields = self._fields
        if address := fields.pop("virtual", ""):
            fields.setdefault("address", address)
        if self._queued and self._queued[1] != "kernel":
            self._frames.append(self._queued)  # what a worker runs is below all that it called, in the trace or not
        path = fields.get("path", "")
        path_owner = None if _DETECTOR.match(path) else self._owner(path, "/")
        named = fields.get("at_module") or self._owner(fields.get("at_symbol", ""), None)
        if named:
            fields["module"], fields["by"] = named.replace("-", "_"), "head"
        elif "module" not in fields or fields["module"] == "kernel":
            frame = next((module for _, module in self._frames if module != "kernel"), None)
            if path_owner:
                fields["module"], fields["by"] = path_owner, "path"
            elif frame:
                fields["module"], fields["by"] = frame, "frame"
            elif work := self._owner(fields.get("work", ""), None):
                fields["module"], fields["by"] = work, "work"
            elif self._frames:
                fields["module"] = "kernel"
                fields.setdefault("by", "frame")
            else:
                task = self._owner(fields.get("comm", ""), None)
                if "module" not in fields and task:
                    fields["module"], fields["by"] = task, "task"
        if fields["kind"] in _STRAY and fields.get("by") != "head" and _ALLOCATOR.match(fields.get("symbol", "")):
            fields["kind"] = "stumbled"
        if fields["kind"] in _LOCKUP and fields.get("module") == "kernel" and _WAITING.match(fields.get("symbol", "")):
            fields["by"] = "waiting"
        fields.setdefault("symbol", self._frames[0][0] if self._frames else "")
        waits = (symbol for symbol, _ in self._frames if not _SCHEDULER.match(symbol))
        fields["wait"] = next(waits, "") if fields["kind"] == "hung-task" else ""
        modules = dict.fromkeys(module for _, module in self._frames)
        fields["frames"] = ",".join(modules)
        fields["origin"] = self._origin(fields.get("module", ""))
        fields["origins"] = ",".join(dict.fromkeys(map(self._origin, modules)))
        fields["left_overs"] = ",".join(self._left_overs)
        return Signal("crash", None, fields, self.record)

    def _origin(self, module: str) -> str:
        """Return where a module comes from; empty if neither its name nor the taint tells."""
        if not module or module == "kernel":
            return module
        if module.startswith("nvidia"):
            return "nvidia"
        taint = self._fields.get("taint")
        if (taint is not None and "O" not in taint) or module in in_tree():
            return "in-tree"
        return ""

    def _decoded(self, frame: re.Match[str]) -> str:
        """Return the module of a decoded frame: the one it prints, else the owner of its source or symbol."""
        return self._name(frame[2], frame[4]) or self._owner(frame[3], "/") or "kernel"

    def _name(self, symbol: str, module: str | None) -> str | None:
        """Return the module that a frame prints, else the one its symbol's prefix belongs to."""
        if module:
            return module.replace("-", "_")
        return self._owner(symbol, None)

    def _owner(self, text: str, separator: str | None) -> str | None:
        """Return the module whose known prefix (of a symbol, task or, with `separator`, source path) this has."""
        if not text:
            return None
        foreign = separator is not None and "/dkms/" in text  # built outside the kernel, in a folder such as /var/lib
        for prefix, module in self._modules.items():
            if foreign and module == "kernel":
                continue
            if ("/" in prefix) == (separator == "/") and (prefix in text if separator else text.startswith(prefix)):
                return module
        return None
