//! Why a host could not do what it was asked. Plain values.

use std::fmt;

/// Why the host could not do what it was asked; nothing was changed for the
/// page (or, in a run, for the pages from the failing one on).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The machine has no memory or address space left for the step.
    #[error("the machine has no memory or address space left")]
    NoMemory,
    /// Stores to a page that is shared went through for a while: its bytes cannot be vouched for.
    #[error(
        "the kernel took the write protection from shared memory; keep the process out of kernel samepage merging \
         (PR_SET_MEMORY_MERGE, systemd's MemoryKSM) or let it opt in before it has spaces"
    )]
    Unprotected,
    /// The page is empty although the manager filled it.
    #[error(
        "somebody else has emptied the page (madvise or munmap on a space's addresses), and its bytes are lost; leave the \
         memory of spaces to memfold"
    )]
    Emptied,
    /// The descriptors through which the host works are gone.
    #[error(
        "memfold's own file descriptors were closed by the program: close only descriptors that it opened itself"
    )]
    Closed,
    /// The machine cannot do this at all: its windows have no pieces.
    #[error("this machine cannot show files in the memory of a space")]
    Unsupported,
    /// A window could not be opened or become longer.
    #[error("{call} was refused (error {code}): {limit}")]
    Window {
        /// The system call.
        call: &'static str,
        /// Its error code.
        code: i32,
        /// What is in the way.
        limit: Limit,
    },
    /// A call on pages, on the pool or for a record was refused.
    #[error("{call} was refused (error {code}): {limit}")]
    Call {
        /// The system call, or what was asked for.
        call: &'static str,
        /// Its error code.
        code: i32,
        /// What is in the way, as far as the error code says.
        limit: Limit,
    },
    /// The operating system refused; the number is its error code.
    #[error("the operating system refused (error {0})")]
    Os(i32),
}

/// The limit of a process or machine that is in the way, as found when something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Mappings of the process (`vm.max_map_count`); each window takes two at the most, and
    /// each file mapped in it two more.
    Mappings(u64),
    /// Bytes of addresses (`RLIMIT_AS`).
    Addresses(u64),
    /// Bytes of private memory (`RLIMIT_DATA`).
    Data(u64),
    /// Bytes of locked memory (`RLIMIT_MEMLOCK`).
    Locked(u64),
    /// Bytes of a file (`RLIMIT_FSIZE`): the pool is one.
    FileSize(u64),
    /// Memory of the machine, or of the process's control group.
    Memory,
    /// Memory that the machine may promise (`vm.overcommit_memory` is 2).
    Promises,
    /// Somebody who decides which calls a process may make.
    Filter,
    /// None that a window needs: looked for and not found.
    Other,
    /// The error code names none.
    Unknown,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mappings(most) => write!(
                f,
                "the process has as many mappings as it may; raise vm.max_map_count, which is {most}, or have fewer spaces, or fewer files mapped in them"
            ),
            Self::Addresses(bytes) => write!(
                f,
                "raise the limit of addresses (ulimit -v, RLIMIT_AS), which is {bytes} bytes"
            ),
            Self::Data(bytes) => write!(
                f,
                "raise the limit of private memory (ulimit -d, RLIMIT_DATA), which is {bytes} bytes"
            ),
            Self::Locked(bytes) => write!(
                f,
                "the process locks its memory (mlockall); raise the limit (ulimit -l, RLIMIT_MEMLOCK), which is {bytes} bytes"
            ),
            Self::FileSize(bytes) => write!(
                f,
                "raise the file-size limit (ulimit -f, RLIMIT_FSIZE), which is {bytes} bytes, or reserve less for spaces"
            ),
            Self::Memory => write!(
                f,
                "the machine, or the process's control group (memory.max), has no memory left; lower the budget, or give it more"
            ),
            Self::Promises => write!(
                f,
                "the machine may promise no more memory; raise vm.overcommit_ratio or set vm.overcommit_memory=0, or lower the budget"
            ),
            Self::Filter => write!(
                f,
                "a filter of system calls (seccomp) or a security module is in the way; let the process make this call"
            ),
            Self::Unknown => write!(
                f,
                "that is nothing which memfold expects of a kernel; please report it with the kernel's version"
            ),
            Self::Other => write!(
                f,
                "no limit of the process was found to be reached; the machine has no memory for it, a filter of system calls \
                 is in the way, or the process's addresses are used up"
            ),
        }
    }
}
