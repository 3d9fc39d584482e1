"""What the driver, the kernel and a job's log say opens an incident; an ordinary boot and a forged name do not."""

from __future__ import annotations

import pytest

from triage.evaluate import explain_text
from triage.model import Assessment
from triage.rulebook.load import load

RULEBOOK = load()

ORDINARY_BOOT = """\
[    0.000000] Linux version 6.8.0-31-generic (buildd@example) (gcc 13.2.0) #31-Ubuntu SMP PREEMPT_DYNAMIC
[    0.500000] mce: CPU0: Thermal monitoring enabled (TM1)
[    0.600000] pci 0000:01:00.0: [10de:2204] type 00 class 0x030000 PCIe Legacy Endpoint
[    0.610000] pci 0000:01:00.0: 31.504 Gb/s available PCIe bandwidth, limited by 8.0 GT/s PCIe x4 link at 0000:00:00.0
[    0.620000] pcieport 0000:00:1c.0: AER: enabled with IRQ 122
[    0.630000] pcieport 0000:00:1c.0: DPC: error containment capabilities: Int Msg #0, RPExt+ PoisonedTLP+ SwTrigger+
[    0.640000] pcieport 0000:00:1c.0: pciehp: Slot #12 AttnBtn- PwrCtrl- MRL- AttnInd- PwrInd- HotPlug+ Surprise+
[    0.650000] ACPI Warning: \\_SB_.PCI0.PEG0.PEGP._DSM: Argument #4 type mismatch - Found [Buffer]
[    0.700000] EDAC MC0: Giving out device to module skx_edac controller Skylake Socket#0 IMC#0
[    0.800000] nvme nvme0: missing or invalid SUBNQN field.
[    0.900000] ata1: SATA link down (SStatus 0 SControl 300)
[    1.200000] mlx5_core 0000:5e:00.0: Port module event: module 0, Cable plugged
[    1.300000] mlx5_core 0000:5e:00.0 ens1f0np0: Link up
[    2.000000] nvidia: module verification failed: signature and/or required key missing - tainting kernel
[    2.100000] nvidia-nvlink: Nvlink Core is being initialized, major device number 236
[    2.200000] nvidia 0000:01:00.0: enabling device (0000 -> 0003)
[    2.300000] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024
[    2.400000] nvidia-modeset: Loading NVIDIA Kernel Mode Setting Driver for UNIX platforms  550.54.15
[    2.500000] [drm] [nvidia-drm] [GPU ID 0x00000100] Loading driver
[    2.700000] nvidia-uvm: Loaded the UVM driver, major device number 234.
[    2.800000] amdgpu 0000:0c:00.0: amdgpu: RAS: optional ras ta ucode is not available
[    3.000000] i915 0000:00:02.0: [drm] GT0: GuC firmware i915/tgl_guc_70.bin version 70.20.0
[    5.000000] nvidia-gpu 0000:01:00.3: i2c timeout error e0000000
[    6.000000] libceph: mon0 (1)10.0.0.1:6789 socket closed (con state OPEN)
[    7.000000] BTRFS info (device sda2): bdev /dev/sda2 errs: wr 0, rd 0, flush 0, corrupt 0, gen 0
"""


def explain(log: str) -> Assessment:
    """Take a log through the whole walk."""
    return explain_text(RULEBOOK, log)


def test_an_ordinary_boot_opens_nothing_that_wakes_anyone() -> None:
    """Only remarks, if anything."""
    assert [] == [i.summary for i in explain(ORDINARY_BOOT).incidents if i.severity != "info"]


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("driver-install", "NVRM: installed in this system requires use of the NVIDIA open kernel modules."),
        ("driver-install", "NVRM: GPU 0000:01:00.0 is already bound to NovaCore."),
        ("driver-install", "NVRM: this kernel module has the version 530.30.02.  Please"),
        ("driver-install", "modprobe: ERROR: could not insert 'nvidia': Operation not permitted"),
        ("driver-install", "nvidia: version magic '5.15.0-91-generic SMP ' should be '5.15.0-97-generic SMP '"),
        ("driver-install", "nv_peer_mem: Unknown symbol nvidia_p2p_get_pages (err -22)"),
        ("driver-init", "NVRM: GPU 0000:01:00.0: rm_init_adapter failed, device minor number 0"),
        ("driver-init", "NVRM: GPU 0000:01:00.0: request_irq() failed (-4)"),
        ("driver-init", "NVRM: gpuWaitForGfwBootComplete_TU102: failed to wait for GFW_BOOT: (progress 0x3)"),
        ("gpu-off-bus", "NVRM: fallen off the bus and is not responding to commands."),
        ("gsp-fault", "NVRM: GSP RM heartbeat timed out"),
        ("gpu-memory", "nvidia-uvm: ECC error encountered, GPU ID 1: GPU-aaa"),
        ("gpu-memory", "RuntimeError: CUDA error: uncorrectable ECC error encountered"),
        ("nvlink-fault", "nvidia-uvm: NVLINK error encountered, GPU ID 1: GPU-aaa"),
        ("nvlink-fault", "nvidia-nvswitch0: unrecoverable error in ISR"),
        ("inforom", "WARNING: infoROM is corrupted at gpu 0000:17:00.0"),
        ("vgpu", "NVRM: Xid (PCI:0000:41:00): 78, Guest driver is incompatible with host driver"),
        ("tegra-gpu", "nvgpu: 17000000.gpu nvgpu_tsg_set_ctx_mmu_error:1069 [ERR]  TSG 8 generated a mmu fault"),
        ("amd-gpu", "amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=4, emitted seq=6"),
        ("intel-gpu", "i915 0000:33:00.0: GPU HANG: ecode 12:0:00000000"),
        ("accelerator", "habanalabs 0000:19:00.0: Got heartbeat failure"),
        ("job-network", "n1:34050:34121 [0] transport/net_ib.cc:93 NCCL WARN NET/IB : Got async event : port error"),
        ("job-hang", "[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=81)"),
        ("job-memory", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB."),
        ("cuda-setup", "CUDA driver version is insufficient for CUDA runtime version"),
        ("network-card", "mlx5_core 0000:5e:00.0: Port module event[error]: module 0, Cable error, High Temperature"),
        ("thermal-power", "CPU12: Package temperature above threshold, cpu clock throttled (total events = 1)"),
        ("pcie-errors", "pcieport 0000:40:01.1: broken device, retraining non-functional downstream link at 2.5GT/s"),
        ("pcie-errors", "pcieport 0000:00:02.0: AER: found no error details for 0000:02:00.0"),
        ("iommu-fault", "arm-smmu-v3 arm-smmu-v3.8.auto: CMD_SYNC timeout at 0x0000a1d4"),
        ("host-hardware", "BERT: Error records from previous boot:"),
        ("out-of-memory", "nv_queue: page allocation failure: order:4, mode:0x40cc0"),
        ("kernel-crash", "BUG: workqueue lockup - pool cpus=4 node=0 flags=0x0 nice=0 stuck for 33s!"),
        ("kernel-crash", "BUG kmalloc-16 (Tainted: G           OE     ): Object already free"),
        ("kernel-crash", "traps: Missing ENDBR: _portMemAllocatorAllocNonPagedWrapper+0x0/0x10"),
        ("kernel-crash", "Internal error: synchronous external abort: 96000210 [#1] SMP"),
        ("kernel-crash", "BUG: scheduling while atomic: Xorg/2041/0x00000002"),
    ],
)
def test_one_line_is_enough_to_open_an_incident(rule: str, line: str) -> None:
    """Also where it is one line of a longer message, pasted alone."""
    assert rule in {incident.rule for incident in explain(line + "\n").incidents}


@pytest.mark.parametrize(
    "name", ["GSP-FMC", "fbsr", "kgspBootstrap", "BAR 1: no space", "HW_ERR", "device wedged", "FATAL error", "DERR"]
)
def test_a_process_cannot_forge_a_fault_by_its_name(name: str) -> None:
    """The kernel prints the fifteen characters that a program chose; they open nothing of their own."""
    lines = {
        "compute-exception": f"NVRM: Xid (PCI:0000:4e:00): 43, pid=2241, name={name}, Ch 00000010",
        "out-of-memory": f"{name} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        "intel-gpu": f"xe 0000:0b:00.0: [drm] Tile0: GT0: Timedout job: seqno=7, lrc_seqno=7, guc_id=2, in {name}",
    }
    plain = {rule: explain(line.replace(name, "solver") + "\n").incidents for rule, line in lines.items()}

    for rule, line in lines.items():
        found = explain(line + "\n").incidents
        assert [(i.rule, i.verdict.by_leaf) for i in plain[rule]] == [(i.rule, i.verdict.by_leaf) for i in found]
        assert rule in {i.rule for i in found}
