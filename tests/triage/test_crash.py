"""Whose code the kernel died in."""

from __future__ import annotations

from collections.abc import Mapping

from probes.records import parse_lines
from triage.rulebook.load import load
from triage.scanner import Scanner

RULEBOOK = load()


def crashes(text: str) -> list[Mapping[str, str]]:
    """Return the fields of all crashes in a log."""
    lines = [line.encode() + b"\n" for line in text.splitlines()]
    records = parse_lines(lines, origin="log", year_hint=1_700_000_000.0)
    return [s.fields for s in Scanner(RULEBOOK).scan(records) if s.name == "crash"]


OOPS_IN_UVM = """\
[  100.000001] BUG: kernel NULL pointer dereference, address: 0000000000000000
[  100.000002] Oops: 0000 [#1] SMP PTI
[  100.000003] CPU: 3 PID: 4711 Comm: nvidia-sleep.sh Tainted: P           OE     6.1.0-18-amd64 #1
[  100.000004] RIP: 0010:_raw_q_schedule+0x2f/0xb0 [nvidia_uvm]
[  100.000005] Call Trace:
[  100.000006]  nv_kthread_q_flush+0x7f/0x130 [nvidia_uvm]
[  100.000007]  nv_set_system_power_state+0x3fe/0x4d0 [nvidia]
[  100.000008]  ? proc_reg_write+0x5a/0xb0
[  100.000009]  vfs_write+0xe6/0x570
[  100.000010] ---[ end trace 0000000000000000 ]---
"""


def test_the_module_of_rip_is_whose_code_it_was() -> None:
    """And the frames, the task and the taint are kept beside it."""
    (crash,) = crashes(OOPS_IN_UVM)

    assert ("null-deref", "nvidia_uvm", "rip") == (crash["kind"], crash["module"], crash["by"])
    assert ("nvidia-sleep.sh", "nvidia_uvm,nvidia,kernel") == (crash["comm"], crash["frames"])


def test_a_trace_pasted_without_time_stamps_reads_the_same() -> None:
    """People paste traces with and without their prefix."""
    bare = "\n".join(line[15:] for line in OOPS_IN_UVM.splitlines())

    (crash,) = crashes(bare)

    assert ("null-deref", "nvidia_uvm") == (crash["kind"], crash["module"])


def test_frames_marked_with_a_question_mark_blame_nobody() -> None:
    """They are left-overs on the stack."""
    (crash,) = crashes(
        "[1.0] BUG: unable to handle page fault for address: ffffb1e2c0a01000\n"
        "[1.1] RIP: 0010:kmem_cache_alloc+0x12/0x300\n"
        "[1.2] Call Trace:\n"
        "[1.3]  ? nvidia_ioctl+0x100/0x200 [nvidia]\n"
        "[1.4]  do_syscall_64+0x5c/0x90\n"
    )

    assert ("kernel", "kernel") == (crash["module"], crash["frames"])


def test_the_first_frame_with_a_module_is_named_where_rip_is_in_the_core() -> None:
    """A lock-up in a core function was called by somebody."""
    (crash,) = crashes(
        "[1.0] watchdog: BUG: soft lockup - CPU#7 stuck for 23s! [python:1234]\n"
        "[1.1] RIP: 0010:native_queued_spin_lock_slowpath+0x60/0x1d0\n"
        "[1.2] Call Trace:\n"
        "[1.3]  _raw_spin_lock_irqsave+0x3d/0x50\n"
        "[1.4]  os_acquire_spinlock+0x12/0x20 [nvidia]\n"
    )

    assert ("soft-lockup", "nvidia", "frame", "python") == (crash["kind"], crash["module"], crash["by"], crash["comm"])


def test_a_panic_belongs_to_the_crash_before_it() -> None:
    """One event is one incident, not two."""
    (crash,) = crashes(
        "[1.0] general protection fault, probably for non-canonical address 0x6677: 0000 [#1] SMP\n"
        "[1.1] RIP: 0010:nvkm_object_search+0x1d/0x70 [nouveau]\n"
        "[1.2] ---[ end trace 0000000000000000 ]---\n"
        "[1.3] Kernel panic - not syncing: Fatal exception\n"
    )

    assert ("general-protection", "nouveau", "yes") == (crash["kind"], crash["module"], crash["panic"])


def test_two_warnings_are_two_crashes() -> None:
    """A second head after a finished trace starts anew."""
    warning = (
        "[{0}.0] WARNING: CPU: 8 PID: 15 at drivers/gpu/drm/nouveau/nvif/vmm.c:68 nvif_vmm_put+0x72/0x80 [nouveau]\n"
        "[{0}.1] RIP: 0010:nvif_vmm_put+0x72/0x80 [nouveau]\n"
        "[{0}.2] ---[ end trace 0000000000000000 ]---\n"
    )

    assert ["warning", "warning"] == [c["kind"] for c in crashes(warning.format(1) + warning.format(9))]


def test_an_arm_trace_is_read_by_its_pc() -> None:
    """Grace has no RIP."""
    (crash,) = crashes(
        "[   76.658128] SError Interrupt on CPU4, code 0xbf000000 -- SError\n"
        "[   76.658131] pc : nvkm_device_ctor+0x2cc/0x2e18 [nouveau]\n"
        "[   76.658132] lr : nvkm_device_ctor+0x2c0/0x2e18 [nouveau]\n"
    )

    assert ("serror", "nouveau") == (crash["kind"], crash["module"])


def test_a_trace_whose_head_was_cut_off_still_tells_its_modules() -> None:
    """What is left of a log is used."""
    (crash,) = crashes(
        "ott 25 09:07:35 host1 kernel:  zap_page_range_single+0xe9/0x190\n"
        "ott 25 09:07:35 host1 kernel:  ? _nv002570kms+0x17b/0x210 [nvidia_modeset 1400000003]\n"
        "ott 25 09:07:35 host1 kernel:  nv_revoke_gpu_mappings_locked+0x47/0x70 [nvidia 1400000003]\n"
    )

    assert ("trace", "nvidia", "kernel,nvidia") == (crash["kind"], crash["module"], crash["frames"])


def test_a_machine_check_is_not_blamed_on_the_code_it_interrupted() -> None:
    """The RIP of a machine check line names a bystander."""
    (crash,) = crashes(
        "[1.0] mce: [Hardware Error]: CPU 178: Machine Check Exception: f Bank 1: bd80000000100134\n"
        "[1.1] mce: [Hardware Error]: RIP 10:<ffffffff981d7af3> {futex_wait_setup+0x83/0xf0}\n"
        "[1.2] Kernel panic - not syncing: Fatal local machine check\n"
    )

    assert "module" not in crash
    assert "Fatal local machine check" == crash["panic_text"]


def test_a_check_that_only_finds_corruption_blames_its_caller() -> None:
    """The reference counter's own warning stands in lib/, which is never at fault for what it finds."""
    (crash,) = crashes(
        "[1.0] refcount_t: underflow; use-after-free.\n"
        "[1.1] WARNING: CPU: 3 PID: 4021 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110\n"
        "[1.2] RIP: 0010:refcount_warn_saturate+0xba/0x110\n"
        "[1.3] Call Trace:\n"
        "[1.4]  refcount_warn_saturate+0xba/0x110\n"
        "[1.5]  nv_drm_gem_free+0x40/0x50 [nvidia_drm]\n"
    )

    assert ("refcount", "nvidia_drm", "frame") == (crash["kind"], crash["module"], crash["by"])


def test_the_function_that_the_head_names_is_whose_code_it_was() -> None:
    """A missing landing pad is named before any register is printed."""
    (crash,) = crashes("traps: Missing ENDBR: nvkms_ioctl_common+0x0/0x10\n")

    assert ("landing-pad", "nvidia_modeset", "head") == (crash["kind"], crash["module"], crash["by"])


def test_a_task_that_hangs_tells_which_lock_it_waits_for() -> None:
    """The scheduler's own functions on top of its stack say nothing."""
    (crash,) = crashes(
        "[1.0] INFO: task nvidia-smi:12345 blocked for more than 120 seconds.\n"
        "[1.1] Call Trace:\n"
        "[1.2]  __schedule+0x2d0/0x880\n"
        "[1.3]  schedule+0x5b/0xd0\n"
        "[1.4]  down_write+0x5e/0x80\n"
        "[1.5]  os_acquire_rwlock_write+0x35/0x50 [nvidia]\n"
    )

    assert ("hung-task", "nvidia", "down_write") == (crash["kind"], crash["module"], crash["wait"])


def test_work_that_did_not_get_done_is_named_by_its_function() -> None:
    """A workqueue lockup prints no trace, only what is in flight."""
    (crash,) = crashes(
        "[1.0] BUG: workqueue lockup - pool cpus=4 node=0 flags=0x0 nice=0 stuck for 33s!\n"
        "[1.1] Showing busy workqueues and worker pools:\n"
        "[1.2] workqueue events: flags=0x0\n"
        "[1.3]     in-flight: 4711:nv_drm_hotplug_work\n"
    )

    assert ("workqueue-lockup", "nvidia", "work") == (crash["kind"], crash["module"], crash["by"])


def test_a_bus_abort_on_arm_is_one_crash_with_its_oops() -> None:
    """`Internal error: synchronous external abort` is both a head of its own and an oops."""
    (crash,) = crashes(
        "[1.0] Internal error: synchronous external abort: 96000210 [#1] SMP\n"
        "[1.1] pc : os_pci_read_dword+0x20/0x60 [nvidia]\n"
    )

    assert ("bus-abort", "nvidia") == (crash["kind"], crash["module"])


def test_a_module_is_the_kernels_own_by_its_name_or_because_nothing_foreign_was_loaded() -> None:
    """A name that nobody knows stays unknown where foreign modules were loaded too."""

    def origin(module: str, taint: str) -> str:
        (crash,) = crashes(
            "[1.0] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
            f"[1.1] CPU: 1 PID: 99 Comm: kworker/1:1 {taint} 6.8.0 #1\n"
            f"[1.2] RIP: 0010:poll+0x1/0x2 [{module}]\n"
        )
        return crash["origin"]

    foreign = "Tainted: P           OE    "
    assert ["in-tree", "in-tree"] == [origin("hns-roce-hw-v2", foreign), origin("irdma", foreign)]
    assert ["", "in-tree", "in-tree"] == [
        origin("frobnicator", taint) for taint in (foreign, "Not tainted", "Tainted: G        W        ")
    ]
    assert "nvidia" == origin("nvidia_uvm", foreign)


def test_the_trace_tells_where_all_its_code_comes_from() -> None:
    (crash,) = crashes(OOPS_IN_UVM)

    assert ("nvidia", "nvidia,kernel") == (crash["origin"], crash["origins"])


def test_a_cpu_that_was_stuck_is_read_without_the_name_of_its_task() -> None:
    """As arm64 kernels and wrapped mails print it."""
    (crash,) = crashes("[1.0] watchdog: BUG: soft lockup - CPU#27 stuck for 22s!\n[1.1]  mtr_map+0x1/0x2 [mlx5_ib]\n")

    assert ("soft-lockup", "mlx5_ib", "") == (crash["kind"], crash["module"], crash.get("comm", ""))


def test_the_work_of_a_kworker_is_below_what_it_called() -> None:
    """Where the trace is cut off, or shows locks alone, the line Workqueue tells whose work it was."""
    (crash,) = crashes(
        "[1.0] BUG: kernel NULL pointer dereference, address: 0000000000000000\n"
        "[1.1] CPU: 12 PID: 643 Comm: kworker/u32:10 Tainted: G        W  OE     5.19.16-generic #20221015\n"
        "[1.2] Workqueue: i915 __i915_gem_free_work [i915]\n"
        "[1.3] RIP: 0010:__rb_erase_color+0x96/0x250\n"
    )

    assert ("i915", "frame", "i915", "__rb_erase_color") == (
        crash["module"],
        crash["by"],
        crash["frames"],
        crash["symbol"],
    )


def test_work_of_the_kernel_itself_names_no_module() -> None:
    """Most queues run functions of the core."""
    (crash,) = crashes("[1.0] kernel BUG at mm/slab.c:1!\n[1.1] Workqueue: pm pm_runtime_work\n")

    assert "" == crash["frames"]


def test_kernels_before_4_9_print_the_address_of_rip_twice() -> None:
    """As that of RHEL 7 does."""
    (crash,) = crashes(
        "[1.0] Oops: 0000 [#1] SMP\n"
        "[1.1] RIP: 0010:[<ffffffff811e5f8c>]  [<ffffffff811e5f8c>] kmem_cache_alloc+0x74/0x1f0\n"
    )

    assert ("kmem_cache_alloc", "kernel", "rip") == (crash["symbol"], crash["module"], crash["by"])


def test_powerpc_calls_it_nip() -> None:
    """The first of its two lines holds the address alone."""
    (crash,) = crashes(
        "[1.0] Oops: Kernel access of bad area, sig: 11 [#1]\n"
        "[1.1] NIP:  c008000012345678 LR: c008000012345670 CTR: c000000000abcdef\n"
        "[1.2] NIP [c008000012345678] mlx5_cmd_exec+0x20/0x90 [mlx5_core]\n"
        "[1.3] LR [c008000012345670] mlx5_cmd_exec+0x18/0x90 [mlx5_core]\n"
    )

    assert ("mlx5_cmd_exec", "mlx5_core", "rip") == (crash["symbol"], crash["module"], crash["by"])


def test_source_built_by_dkms_is_not_the_cores() -> None:
    """The folder /var/lib/dkms is no lib/ of the kernel."""
    (crash,) = crashes(
        "[1.0] WARNING: CPU: 7 PID: 982 at /var/lib/dkms/rock/1.7/build/amd/dc.c:131 dc_release+0x63/0x70 [rock]\n"
        "[1.1] CPU: 7 PID: 982 Comm: gnome-shell Tainted: G           OE   4.13.0-32-generic #35-Ubuntu\n"
    )

    assert ("rock", "frame") == (crash["module"], crash["by"])


def test_an_allocator_that_stumbles_blames_nobody() -> None:
    """Who asks for memory next is a bystander of what somebody wrote into free memory."""
    (crash,) = crashes(
        "[1.0] general protection fault, probably for non-canonical address 0x6677ed422bceb80c: 0000 [#1] SMP\n"
        "[1.1] RIP: 0010:__kmem_cache_alloc_node+0x1d3/0x330\n"
        "[1.2] Call Trace:\n"
        "[1.3]  __kmalloc+0x4d/0x150\n"
        "[1.4]  os_alloc_mem+0xd4/0x100 [nvidia]\n"
    )

    assert ("stumbled", "__kmem_cache_alloc_node") == (crash["kind"], crash["symbol"])


def test_a_pointer_handed_to_free_is_its_callers() -> None:
    """To free what was never allocated is a mistake of who does it."""
    (crash,) = crashes(
        "[1.0] BUG: unable to handle page fault for address: ffffb1e2c0a01000\n"
        "[1.1] RIP: 0010:kfree+0x12/0x300\n"
        "[1.2]  nvkm_object_del+0x12/0x300 [nouveau]\n"
    )

    assert ("page-fault", "nouveau") == (crash["kind"], crash["module"])


def test_a_cpu_sent_to_where_nothing_is_was_in_no_function() -> None:
    """Then the frames tell who called, and the line of modules who had been there."""
    (crash,) = crashes(
        "[1.0] BUG: unable to handle page fault for address: ffffffffc0a12340\n"
        "[1.1] RIP: 0010:0xffffffffc0a12340\n"
        "[1.2] Modules linked in: ip_tables x_tables autofs4 [last unloaded: nvidia]\n"
        "[1.3]  call_timer_fn+0x29/0x130\n"
    )

    assert ("0xffffffffc0a12340", "kernel", "frame", "nvidia") == (
        crash["nowhere"],
        crash["module"],
        crash["by"],
        crash["unloaded"],
    )


def test_decoded_traces_read_the_same() -> None:
    """Mails to the kernel's lists often give the place in the source where the offset was."""
    (crash,) = crashes(
        "[1.0] BUG: kernel NULL pointer dereference, address: 0000000000000018\n"
        "[1.1] RIP: 0010:amdgpu_vm_bo_update (drivers/gpu/drm/amd/amdgpu/amdgpu_vm.c:1234 (discriminator 3)) amdgpu\n"
        "[1.2] Call Trace:\n"
        "[1.3]  ? __die (arch/x86/kernel/dumpstack.c:421 arch/x86/kernel/dumpstack.c:434)\n"
        "[1.4]  drm_ioctl (drivers/gpu/drm/drm_ioctl.c:890) drm\n"
        "[1.5]  __x64_sys_ioctl (fs/ioctl.c:51 fs/ioctl.c:870 fs/ioctl.c:856 fs/ioctl.c:856)\n"
    )

    assert ("amdgpu", "rip", "drm,kernel") == (crash["module"], crash["by"], crash["frames"])


def test_the_source_of_a_decoded_frame_tells_whose_built_in_code_it_is() -> None:
    """A driver that is built in prints no module."""
    (crash,) = crashes(
        "[1.0] Unable to handle kernel NULL pointer dereference at virtual address 0000000000000018\n"
        "[1.1] pc : gf100_bar_oneinit (drivers/gpu/drm/nouveau/nvkm/subdev/bar/gf100.c:55)\n"
    )

    assert ("nouveau", "rip") == (crash["module"], crash["by"])


def test_a_check_of_arguments_blames_the_caller() -> None:
    """Who frees an interrupt twice is at fault, not the code that notices."""
    (crash,) = crashes(
        "[1.0] WARNING: CPU: 3 PID: 711 at kernel/irq/manage.c:1893 __free_irq+0x192/0x2a0\n"
        "[1.1] RIP: 0010:__free_irq+0x192/0x2a0\n"
        "[1.2]  free_irq+0x1c/0x30\n"
        "[1.3]  nv_free_irq+0x1c/0x30 [nvidia]\n"
    )

    assert ("nvidia", "frame") == (crash["module"], crash["by"])


def test_the_scissors_between_a_head_and_its_assertion_part_nothing() -> None:
    """The line of the list and the line of BUG() are one crash."""
    (crash,) = crashes(
        "[1.0] list_del corruption. prev->next should be ffff8881, but was ca53e83f5e8cf5a8\n"
        "[1.1] ------------[ cut here ]------------\n"
        "[1.2] kernel BUG at lib/list_debug.c:51!\n"
        "[1.3] RIP: 0010:__list_del_entry_valid.cold+0x31/0x47\n"
        "[1.4]  __dentry_kill+0x89/0x180\n"
    )

    assert ("list", "list,bug") == (crash["kind"], crash["heads"])


def test_a_cpu_that_waits_for_another_is_no_proof_against_the_code_it_waits_in() -> None:
    """It is `waiting`, not RIP, that is told."""
    (crash,) = crashes(
        "[1.0] watchdog: BUG: soft lockup - CPU#12 stuck for 26s! [kworker/12:1:4410]\n"
        "[1.1] RIP: 0010:smp_call_function_many_cond+0x13a/0x380\n"
    )

    assert ("kernel", "waiting") == (crash["module"], crash["by"])
