"""What names look like in a log, and which words are none.

Each pattern finds something that may say who, where or which part.  They stand
apart from `triage.redact`, which says what becomes of a find, so that a site
can see at a glance what is looked for.
"""

from __future__ import annotations

import re

KEPT_READINGS = re.compile(
    r"(?:driver\.(?:version|module-version|flavour)|nvml\.(?:version|error)|cuda\.version|kernel\.(?:release|taint)"
    r"|module\.\w+|gpu\.(?:name|vbios|inforom|gsp-firmware|state|recovery-action|ecc\.mode.*|mig\.mode.*|fabric\..*)"
    r"|pci\.(?:driver|port|device-id|power-state)|ib\.(?:state|physical-state|link-layer|driver|firmware|gpus-beside)"
    r"|dcgm\.(?:gpu-\d+\.)?(?:\w+\.)?health|dcgm\.diag[\w.-]*|redfish\.health|pci\.(?:path\.)?dpc|kernel\.parameter\.[a-z-]+"
    r"|process\.(?:state|scheduler|runtime)|service\.[\w-]+)\Z"
)
"""Readings whose text is a version, a model or a word of ours."""

KEPT_PORTS = re.compile(
    r"(?:mlx[45]|bnxt_re|irdma|efa|rxe|hns|cxgb4|qedr|hfi1|usnic|erdma|mana)_?\d{1,3}(?:/\d{1,2})?\Z"
)
"""Names that drivers give to network cards, and their ports."""

_COMMON = """
localhost localdomain kernel linux nvidia nvrm nouveau pci pcie gpu gpus cpu cpus node nodes host hosts server master
worker main test user users admin administrator root daemon driver module modules device devices bus memory mem data
disk net eth link port switch fabric error errors system service debian ubuntu centos rocky redhat fedora suse arch
alma oracle python java docker containerd slurm job jobs video audio x86 amd intel xid from fallen off the and for not
has been was with null none unknown uefi bios acpi dmi usb nvme boot init gdm systemd power thermal reset lost unit
core dma iommu irq nmi mce edac aer call trace code panic oops bug info warning watchdog task process thread stack page
fault general protection hardware software firmware uncorrectable correctable fatal timeout channel row remapper name
pid text sec message exception graphics engine uncontained contained received ip6-localhost ip6-loopback
ip6-allnodes ip6-allrouters ip6-localnet ip6-mcastprefix
"""
NOT_NAMES = frozenset(_COMMON.split())
"""Words of every log.  Replaced, they would take the verdict with them; and they give nobody away."""

_SYSTEM_PROGRAMS = """
init bash sh dash zsh sudo su sshd cron crond java node julia ruby perl R matlab MATLAB Xorg X Xwayland plasmashell
blender ffmpeg docker dockerd runc crun podman kubelet etcd srun sbatch mpirun mpiexec orted prted gpustat nvtop nvitop
tritonserver vllm torchrun accelerate deepspeed horovodrun code modprobe insmod rmmod journalctl dmesg ps top htop cat
ls lspci dd tar rsync ssh scp mount umount telegraf prometheus node_exporter collectd udevd kernel rsyslogd auditd
chronyd ntpd polkitd NetworkManager irqbalance multipathd ollama lightdm sddm compiz gpu_burn bandwidthTest hpl xhpl
hpcg all_reduce_perf gpu-triage bmc-sel redfish dcgm pt_main_thread insights-client UVM swapper slurmstepd a.out
"""
_FAMILIES = re.compile(
    r"(?:<unknown>|<\.{3}>|\?+|swapper/\d+|k(?:worker|softirqd|compactd|hugepaged|swapd|threadd|dev|auditd|integrityd|blockd)\b.*"
    r"|(?:migration|watchdog|cpuhp|idle_inject|irq|scsi_eh_|jbd2|UVM|ksm|oom_|dm-|md\d)[\w/:.\[\] -]*"
    r"|(?:rcu|xfs|mlx|ib_|nv|nvidia)[\w/:.\[\] -]*|(?:systemd|containerd|kube|gnome|firefox|chrome|chromium)[\w-]*"
    r"|i?python[\d.]*|ray(?:::[\w.<>-]*)?|VLLM::\w+|sglang::\w+|(?:steam|gamescope|wine|kwin|slurm|dcgm|hydra|dbus|gdm)"
    r"[\w-]*|(?:nccl|tensorflow|jupyter|trtllm|llama|cuda)[\w-]*|gmx\w*|[Nn]amd2?|lmp\w*|vasp\w*|GPU Process"
    r"|proc-[0-9a-f]{8})\Z"
)


def is_known_program(name: str) -> bool:
    """Whether a process name says what ran and not whose it was."""
    return name in _PROGRAM_NAMES or _FAMILIES.match(name) is not None


_PROGRAM_NAMES = frozenset(_SYSTEM_PROGRAMS.split())

PROGRAM_PLACES = tuple(
    re.compile(pattern, re.S)
    for pattern in (
        r"(Xid \(.{0,80}?, name=)(.*?)(?=, |\Z)",
        r"(INFO: task )(.{1,32}?)(?=:\d+ blocked)",
        r"(\bComm: )(.{1,16}?)(?= Kdump| Tainted| Not tainted|\Z)",
        r"(\bcomm=\"?)([^\s\",]{1,32})",
        r"(\bprocess \d{1,10} \()(.{1,32}?)(?=\))",
        r"(stuck for \d+s! \[)(.{1,32}?)(?=:\d+\])",
        r"(\bnote: )(.{1,16}?)(?=\[\d+\] exited)",
        r"(,task=)([^,]{1,32})",
        r"(\A)([^\s\[\]<>][^\[\]]{0,31}?)(?= invoked oom-killer)",
        r"(\A|: |\s)([^\s\[\]()<>:,\"'=]{1,48})(?=\[\d{1,10}\]:? |\[\d{1,10}\]\Z)",
        r"(\[\s{0,7}\d{1,7}\]\s+\d+\s+\d+\s+[\d\s-]{4,80}\s)(\S{1,15})(?=\Z)",
        r"(\bexe=\"?)([^\s\",]{1,255})",
    )
)
"""Where the kernel prints the name of a process: what stands before it, and the name."""

UUID = re.compile(
    r"(?<![0-9A-Fa-f])(?<![0-9A-Fa-f]-)[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f-])"
)
LONG_ID = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-f]{32}|[0-9a-f]{64})(?![0-9A-Za-z])")
"""Machine ids, boot ids, container ids."""
MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}")
MAC = re.compile(
    r"(?<![0-9A-Fa-f:.-])[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4}"
    r"(?:(?:\1[0-9A-Fa-f]{2}){2}|(?:\1[0-9A-Fa-f]{2}){14})?(?![0-9A-Fa-f]|[:-][0-9A-Fa-f])"
)
"""Of Ethernet, EUI-64 and InfiniBand."""
GUID = re.compile(r"(?<![0-9A-Fa-f:.])(?:[0-9A-Fa-f]{4}:){3}[0-9A-Fa-f]{4}(?![0-9A-Fa-f:.])")
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
IPV4 = re.compile(rf"(?<![\d.]){_OCTET}(?:\.{_OCTET}){{3}}(?!\d|\.\d)")
IPV4_IN_NAME = re.compile(rf"(?<![\w-])ip-{_OCTET}(?:-{_OCTET}){{3}}(?![\d-])", re.I)
IPV6 = re.compile(
    r"(?<![0-9A-Za-z:.])(?=[0-9A-Fa-f:]{0,40}:[0-9A-Fa-f:]{0,40}:)(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}"
    r"|(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?)"
    r"(?:%[\w.-]{1,32})?(?![0-9A-Za-z:]|\.\d)"
)
NO_ADDRESSES = frozenset({"127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "::"})
URL = re.compile(r"(?<!\w)([a-z][a-z0-9+.-]{1,15}://)([^\s'\",;)\]>]{1,1024})", re.I)
STORAGE_NAME = re.compile(r"(?<!\w)(?:iqn\.\d{4}-\d{2}|nqn\.\d{4}-\d{2}|eui|naa|wwn-0x)[.:]?[\w.:-]{3,223}", re.I)
_TOP = (
    "com|net|org|edu|gov|mil|int|info|io|ai|cloud|dev|app|local|lan|internal|intern|corp|intra|intranet|home|arpa"
    "|localdomain|hpc|cluster|priv|private|[a-z]{2}"
)
DOMAIN = re.compile(rf"(?<![\w.@/-])(?:[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?\.){{1,8}}(?:{_TOP})(?![\w-]|\.\w)", re.I)
_ENDS = "so ko py sh cc rs md pl js go ml mo ps rb ts ui db id gz bz xz hs in at to is no me my be cu ex xx"
FILE_ENDS = frozenset(_ENDS.split())
"""What ends file names and sentences as well as domains of countries; such a name counts from three parts on."""
HOME = re.compile(r"(?<!\w)~?(?:/[\w.+-]{1,64}){0,3}/(?:home|homes|users|people)/[^\s'\",;:)\]}>]{1,1024}", re.I)
TILDE = re.compile(r"(?<![\w/])~[a-z_][\w.-]{0,31}(?:/[^\s'\",;:)\]}>]{0,1024})?")
PATH = re.compile(r"(?<![\w./:+-])/([\w.+-]{1,64})(?:/[\w.+@~=-]{1,255})+")
_ROOTS = "usr bin sbin lib lib64 etc var proc sys dev run boot nix snap build dvs kernel drivers include src"
SYSTEM_ROOTS = frozenset(_ROOTS.split())
SOURCE_FILE = re.compile(r"\.[chS]\Z")
SERIAL = re.compile(
    r"((?:\bserial(?:[ _-]?(?:number|no|num|nr))?|\bS/N|\bSN|SerialNumber|\bWWN|\bWWID|\b\w{0,6}GUID|\basset[ _-]?tag)"
    r"\b[\"']?\s{0,40}[:=#]\s{0,8}[\"']?|\bserial (?:number|no\.?) )([0-9A-Za-z][0-9A-Za-z._-]{3,63})",
    re.I,
)
ASSIGNED = re.compile(
    r"(\b(?:user(?:name)?|login|logname|owner|account|acct|hostname)\b[\"']?\s?[=:]\s?[\"']?"
    r"|\b(?:host|node(?:name)?|server|domain(?:name)?|job_?name|pod|namespace|password|passwd|token|secret|key|nfsroot"
    r"|addr|laddr|faddr|mounthost)=[\"']?)([^\s,;\"')\]}]{1,255})",
    re.I,
)
AFTER_WORD = re.compile(
    r"(\b(?:server|nid|peer|mounted from|mount from|for user|of user)\s+)([\w.@:-]{2,255})(?=[\s,;:]|\Z)", re.I
)
NAMES_HOSTS = (
    "nfs",
    "rpc",
    "lustre",
    "ceph",
    "cifs",
    "smb",
    "gpfs",
    "mmfs",
    "beegfs",
    "session",
    "login",
    "logged",
    "ssh",
)
"""In lines with one of these the word after `server` or `for user` is a name."""
NAMES_PARTS = ("serial", "s/n", "sn", "wwn", "wwid", "guid", "asset")
"""Without one of these no line names a part."""
NO_VALUE = re.compile(r"(?:0x[0-9a-f]+|[\d.:]+|<.*|(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-7])?)\Z", re.I)
"""Numbers, and PCI addresses."""
PSEUDONYM = re.compile(r"\[?[a-z]+-[0-9a-f]{8}(?:\.ex?e?)?\]?\Z")
TOKEN = re.compile(r"[A-Za-z0-9]+")

COMMAND_LINE = re.compile(r"((?:^|\b)(?:[Kk]ernel c|C)ommand line: )(.*)", re.S)
BUILDER = re.compile(r"\(([\w][\w.-]*)@([\w.-]*)\)")
"""Who built a kernel or a module, and on which machine."""
KEPT_PARAMETER = re.compile(
    r"(?:ro|rw|quiet|splash|debug|nomodeset|(?:intel_|amd_)?iommu|pci[\w.]*|nvidia[\w.-]*|nouveau[\w.]*|mlx5\w*[\w.]*|video|efi"
    r"|(?:rd\.driver\.|modprobe\.|module_)?blacklist|hugepages\w*|default_hugepagesz|transparent_hugepage|numa\w*|mem\w*|swiotlb"
    r"|crashkernel|panic\w*|mitigations|console|isolcpus|nohz\w*|rcu_\w+|init_on_\w+|cgroup\w*|systemd\.unified_cgroup_hierarchy"
    r"|acpi\w*|apic|noapic|nosmt|maxcpus|nr_cpus|processor\.\w+|intel_\w+|amd_\w+|kvm\w*[\w.]*|vfio\w*[\w.-]*|lockdown|module\.sig_\w+)\Z"
)
"""Parameters of the kernel's command line that may bear on a verdict.  Of any other only the name stays."""
