"""Let the kernel confine a process: it reads and writes in named places only, starts no program and opens no connection.

Landlock (Linux 5.13 and newer) restricts files, a seccomp filter the system calls that Landlock leaves open. Neither can be
undone, children inherit both, and a further call can only take more away. What a file from a stranger makes Caffe, HDF5 or a
Python layer do cannot pass them, whatever it is.

Both are a few system calls. Of the packages on PyPI, `landlock` (1.0.0.dev5) has only pre-releases and knows no network or
signals, and `pyseccomp` (0.1.2, of 2021) needs a C library that an image may lack: hence ctypes.
"""

import ctypes
import importlib.util
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LIBC = ctypes.CDLL(None, use_errno=True)

# Landlock's rights, by the version of its interface (ABI) that brought them.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE, _IOCTL_DEVICE = (
    1 << number for number in (4, 5, 7, 8, 13, 14, 15))
READ = READ_FILE | READ_DIR
WRITE = WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE | _IOCTL_DEVICE
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP, _SCOPES = 0b11, 0b11  # bind and connect, since ABI 4; abstract sockets and signals, since ABI 6
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_PATH_BENEATH = 1
_VERSION = 1

# What is refused besides: connections, programs, other processes, and what changes files or the system without opening a file.
# (x86-64, aarch64); 0: not there.
_PROGRAMS = {"execve": (59, 221), "execveat": (322, 281)}
_REFUSED = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "chmod": (90, 0), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, 0), "fchown": (93, 55), "lchown": (94, 0), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "utime": (132, 0), "utimes": (235, 0), "utimensat": (280, 88), "futimesat": (261, 0),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "unshare": (272, 97), "open_by_handle_at": (304, 265), "move_mount": (429, 429), "open_tree": (428, 428),
    "fsopen": (430, 430), "fsmount": (432, 432), "mount_setattr": (442, 442), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162),
    # Memory, queues and semaphores of other processes; how fast and where they run; what happens in folders.
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191),
    "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "kcmp": (312, 272),
    "inotify_init": (253, 0), "inotify_init1": (294, 26), "fanotify_init": (300, 262),
}
# Refused or allowed by the lower half of one argument.
_ALLOWED_IF, _REFUSED_IF, _REFUSED_IF_ANY_BIT = range(3)
_NO_TYPING = (16, 29), 1, _REFUSED_IF, (0x5412, 0x541C)  # ioctl: TIOCSTI and TIOCLINUX type into the user's terminal
# ioctl: only what asks whether a handle is a terminal and of what size, and how much it holds, and what sets whether it waits
# and whether programs inherit it. Others change flags of files and make folders, by a handle that may only read.
_NO_CHANGES = (16, 29), 1, _ALLOWED_IF, (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# fcntl: signals to others (F_SETOWN, F_SETSIG, F_SETOWN_EX), leases, which delay others, and F_NOTIFY, which watches folders.
_NO_NOTICE = (72, 25), 1, _REFUSED_IF, (8, 10, 15, 1024, 1026)
# The mode of a new file in open, creat, openat, mknod and mknodat: none that runs as its owner or its group.
_OWN_MODES = [(numbers, argument, _REFUSED_IF_ANY_BIT, (0o6000,)) for numbers, argument in (
    ((2, 0), 2), ((85, 0), 1), ((257, 56), 3), ((133, 0), 1), ((259, 33), 2))]
# socketpair of streams, which stay with each other; one of datagrams sends to any Unix socket.
_NO_DATAGRAMS = (53, 199), 1, _ALLOWED_IF, (1, 0x801, 0x80001, 0x80801)
# Of this thread or process, not of another: prlimit64, sched_setparam, sched_setscheduler, sched_setattr. sched_setaffinity
# stays free, because OpenMP binds its threads by their numbers.
_OWN = [(numbers, 0, _ALLOWED_IF, (0,)) for numbers in ((302, 261), (142, 118), (144, 119), (314, 274))]
_NO_NAMESPACES = (56, 220), 0, _REFUSED_IF_ANY_BIT, (0x7E020000,)  # clone with any CLONE_NEW...
_NO_SOCKETS = (41, 198), 0, _ALLOWED_IF, ()
_INTERNET = (41, 198), 0, _ALLOWED_IF, (2, 10, 16)  # AF_INET, AF_INET6, and AF_NETLINK, by which names are looked up
# clone3 and openat2, whose flags and mode lie in memory and cannot be seen; the C library then does with clone and openat.
_IN_MEMORY = 435, 437
_UNKNOWN = 463  # calls from this number on came with Linux 6.13 and later, and with numbers of x86-64's second ABI
_MACHINES = {"x86_64": (0xC000003E, 0, 317), "aarch64": (0xC00000B7, 1, 277)}  # AUDIT_ARCH, column above, seccomp's number
_ALLOW, _EPERM, _ENOSYS, _KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
_NO_NEW_PRIVILEGES, _DIE_WITH_PARENT = 38, 1
_CAPABILITIES_KEPT = 0b110  # of root's: to read and write files of others, where Landlock allows it


def abi() -> int:
    """The version of Landlock that the kernel has; 0 where it has none."""
    return max(0, _LIBC.syscall(_CREATE_RULESET, None, 0, _VERSION))


def confine(read: Iterable[Path] | None, write: Iterable[Path] = (), emptied: Iterable[Path] = (),
            execute: Iterable[Path] = (), network: bool = False, local: bool = False, signals: bool = False) -> str:
    """Confine this process for ever.

    Parameters
    ----------
    read : iterable of Path or None
        Files and folders, with all below them, that may be read; those that do not exist are left out. None: no fewer than
        before.
    write : iterable of Path
        Those in which files may be made, changed and removed. They may be read too. With a device among them, as GPUs have,
        devices may be told anything but to type.
    emptied : iterable of Path
        Those in which empty folders may be removed.
    execute : iterable of Path
        Programs that may still be started; they are confined as this process is.
    network : bool
        Whether Internet sockets may be opened.
    local : bool
        Whether sockets of all kinds may be opened, Unix ones among them, by which other programs are spoken to.
    signals : bool
        Whether signals may be sent to all processes that they could be sent to before, not only to those started from now on.

    Returns
    -------
    str
        What is not enforced and why, in words; "" where all is. Threads other than the calling one stay free.
    """
    write, execute = list(write), list(execute)
    rules = [(READ, read or ()), (READ | WRITE, write), (_REMOVE_DIR, emptied), (EXECUTE | READ_FILE, execute),
             (READ_FILE | WRITE_FILE, [Path(os.devnull)]), (READ_DIR, [ROOT])]  # Python lists where it looks for our modules
    devices = any(path.is_char_device() for path in write)
    handled = ~0 if read is not None else ~READ
    _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _drop_capabilities()
    missing = [reason for reason in (
        _landlock(rules, handled, network or local, signals), _seccomp(bool(execute), network, local, devices)) if reason]
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        missing.append(f"{threads - 1} threads were there before")
    return "; ".join(missing)


def _drop_capabilities() -> None:
    """Leave root no more of its powers than _CAPABILITIES_KEPT; some of the others look into any process."""
    header, data = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0)), ctypes.create_string_buffer(24)
    _LIBC.capget(header, data)
    effective, permitted, *_ = struct.unpack("6I", data.raw)
    _LIBC.capset(header, struct.pack("6I", effective & _CAPABILITIES_KEPT, permitted & _CAPABILITIES_KEPT, 0, 0, 0, 0))


def _landlock(rules: list[tuple[int, Iterable[Path]]], handled: int, network: bool, signals: bool) -> str:
    version = abi()
    if not version:
        return "this kernel has no Landlock, so files are not confined"
    handled &= _ALL[max(known for known in _ALL if known <= version)]
    size = 8 if version < 4 else 16 if version < 6 else 24
    about = struct.pack("QQQ", handled, 0 if network else _TCP, 0 if signals else _SCOPES)[:size]
    ruleset = _LIBC.syscall(_CREATE_RULESET, about, len(about), 0)
    if ruleset < 0:
        return _failed("Landlock")
    try:
        for rights, paths in rules:
            for path in paths:
                _allow(ruleset, path, rights & handled)
        return _failed("Landlock") if _LIBC.syscall(_RESTRICT_SELF, ruleset, 0) else ""
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not there
        return
    try:
        _LIBC.syscall(_ADD_RULE, ruleset, _PATH_BENEATH,
                      struct.pack("=Qi", rights if os.path.isdir(path) else rights & _OF_FILES, place), 0)
    finally:
        os.close(place)


def _seccomp(programs: bool, network: bool, local: bool, devices: bool) -> str:
    machine = platform.machine()
    if machine not in _MACHINES or sys.maxsize < 1 << 32:
        return f"connections and programs are not refused on {machine}"
    arch, column, number = _MACHINES[machine]
    refused = [numbers[column] for numbers in (_REFUSED | ({} if programs else _PROGRAMS)).values() if numbers[column]]
    conditions = [_NO_TYPING if devices else _NO_CHANGES, _NO_NOTICE, *_OWN_MODES, *_OWN, _NO_NAMESPACES,
                  *([] if local else [_NO_DATAGRAMS, _INTERNET if network else _NO_SOCKETS])]
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    program = [(load, 0, 0, 4), (equal, 1, 0, arch), (answer, 0, 0, _KILL), (load, 0, 0, 0)]
    for test, value, found in [(at_least, _UNKNOWN, _ENOSYS), *((equal, value, _ENOSYS) for value in _IN_MEMORY),
                               *((equal, value, _EPERM) for value in refused)]:
        program += [(test, 0, 1, value), (answer, 0, 0, found)]
    for numbers, argument, kind, values in (condition for condition in conditions if condition[0][column]):
        answers = [_ALLOW, _EPERM] if kind != _ALLOWED_IF else [_EPERM, _ALLOW]
        test, count = any_bit if kind == _REFUSED_IF_ANY_BIT else equal, len(values)
        program += [(equal, 0, count + 3, numbers[column]), (load, 0, 0, 16 + 8 * argument),
                    *((test, count - place, 0, value) for place, value in enumerate(values)),
                    *((answer, 0, 0, value) for value in answers)]
    program.append((answer, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    return _failed("seccomp") if _LIBC.syscall(
        number, 1, 1, ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))) else ""


def _failed(what: str) -> str:
    return f"{what} is refused here ({os.strerror(ctypes.get_errno())})"


def die_with(parent: int) -> None:
    """Let this process be killed as soon as `parent`, which started it, ends; at once if it has ended."""
    _LIBC.prctl(_DIE_WITH_PARENT, 9, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def installation() -> list[Path]:
    """What Python, Caffe and our code consist of, and what the system tells about itself."""
    caffe = importlib.util.find_spec("caffe")
    code = [ROOT / name for name in ("base", "data_toolkit", "layers", "prototxt", "published", "solvers", "sweeps")]
    here = {ROOT, Path.cwd()}  # with data, runs and whatever is a user's own beside the code
    imported = [path for path in map(Path, sys.path) if path.is_dir() and path.resolve() not in here]
    system = ["/usr", "/lib", "/lib64", "/proc", "/sys", "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/etc/ssl",
              "/etc/ld.so.cache", "/etc/localtime", "/etc/fonts", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
              "/etc/ca-certificates", "/etc/host.conf", "/etc/gai.conf", "/etc/mime.types"]
    fonts = os.environ.get("MPLCONFIGDIR"), "~/.cache/matplotlib", "~/.config/matplotlib"
    return [*map(Path, system), Path(sys.prefix), Path(sys.base_prefix), *code, *imported,
            *(Path(caffe.origin).parents[2:3] if caffe else ()), *(Path(path).expanduser() for path in fonts if path)]


def interpreter() -> list[Path]:
    """For `execute`: Python itself, and what the kernel starts it with."""
    program = Path(sys.executable).resolve()
    return [program, *Path("/lib64").glob("ld-linux*"), *Path("/lib").glob("ld-linux*")]


def gpu_devices() -> list[Path]:
    """For `write`: what CUDA and NCCL open."""
    return [*Path("/dev").glob("nvidia*"), Path("/dev/shm")]
