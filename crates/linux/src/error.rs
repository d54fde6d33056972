//! Why a host could not be opened, each with the setting that mends it. Plain values.

/// Why [`Builder::build`](crate::Builder::build) or [`Report::can`](crate::Report::can) says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such system call.
    #[error(
        "this kernel has no userfaultfd: it needs CONFIG_USERFAULTFD, and a container's or sandbox's \
         seccomp filter must let the system call through (error {errno})"
    )]
    NoUserfaultfd {
        /// The error code.
        errno: i32,
    },
    /// User-mode-only faults were refused, which a kernel itself never does.
    #[error(
        "userfaultfd was refused though user-mode faults need no privilege: a seccomp filter is in the way; \
         let the container use the userfaultfd system call, or read and write /dev/userfaultfd (error {errno})"
    )]
    UserModeRefused {
        /// The error code.
        errno: i32,
    },
    /// Faults of system calls need a privilege.
    #[error(
        "userfaultfd with faults of system calls was refused: set the sysctl vm.unprivileged_userfaultfd=1, or give \
         the process read and write permission on /dev/userfaultfd, or CAP_SYS_PTRACE; in a container also \
         allow the system call in its seccomp profile (error {syscall}, device: error {device})"
    )]
    FullRefused {
        /// The error code of the system call.
        syscall: i32,
        /// The error code of the device.
        device: i32,
    },
    /// The kernel is too old, or built without it.
    #[error("this kernel's userfaultfd lacks {feature}: it needs Linux {since} or later{config}")]
    MissingFeature {
        /// Its name in `linux/userfaultfd.h`.
        feature: &'static str,
        /// The first kernel that has it.
        since: &'static str,
        /// The option it depends on, if any.
        config: &'static str,
    },
    /// The kernel cannot scan page tables, or the process may not read its own.
    #[error(
        "the page table cannot be scanned: PAGEMAP_SCAN needs Linux 6.7 or later with CONFIG_PROC_PAGE_MONITOR, \
         and /proc/self/pagemap must be readable (error {errno})"
    )]
    NoPagemapScan {
        /// The error code.
        errno: i32,
    },
    /// Pages of another size than 4 KiB.
    #[error("memfold needs pages of 4096 bytes; this kernel uses {bytes}")]
    PageSize {
        /// The kernel's page size.
        bytes: usize,
    },
    /// Thread delivery was asked for together with user-mode-only faults.
    #[error("thread delivery is for faults of system calls: it needs UserMode::Full")]
    ThreadNeedsFull,
    /// A page of the pool holds more than a page, however it is written.
    #[error(
        "the kernel makes huge pages in memory files, so memory could not be freed page by page: \
         echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled"
    )]
    HugePool,
    /// Files of the process may not be as long as the pool, which is one (in memory, and sparse).
    #[error(
        "the file-size limit of the process is in the way (ulimit -f, RLIMIT_FSIZE, which is {bytes} bytes): raise it above 1 TiB, \
         since memory is kept in a long sparse file"
    )]
    FileLimit {
        /// The limit.
        bytes: u64,
    },
    /// Something every Linux gives, refused: out of memory or descriptors.
    #[error("{what} was refused (error {errno}); see RLIMIT_NOFILE, RLIMIT_AS and the machine's free memory")]
    Resources {
        /// What was asked for.
        what: &'static str,
        /// The error code.
        errno: i32,
    },
}
