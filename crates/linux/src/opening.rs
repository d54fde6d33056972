//! Opening a userfaultfd: which way, with which features, and what is wrong when it fails.
//!
//! Nothing shared. A descriptor can agree on features once only, so what the kernel has is asked
//! on one descriptor and agreed upon on another. Called by `host.rs` and `probe.rs`.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::abi;
use crate::error::OpenError;
use crate::fault::Delivery;
use crate::keep::Holder;
use crate::sys::{self, Errno};
use crate::uffd::{Uffd, handshake};

/// Whose faults a userfaultfd reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserMode {
    /// Those of programs only; a system call on an inaccessible page gets `EFAULT`. Needs no
    /// privilege.
    UserOnly,
    /// Those of system calls too. Needs a privilege (see [`OpenError::FullRefused`]).
    Full,
}

/// A feature that memfold relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name in `linux/userfaultfd.h`, without the prefix.
    pub name: &'static str,
    /// Its bit.
    pub bit: u64,
    /// The first kernel that has it.
    pub since: &'static str,
    /// What it depends on besides.
    config: &'static str,
    needed: Needed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    Always,
    InThread,
    /// Used by thread delivery when there.
    Never,
}

impl Feature {
    const fn new(
        name: &'static str,
        bit: u64,
        since: &'static str,
        config: &'static str,
        needed: Needed,
    ) -> Self {
        Self {
            name,
            bit,
            since,
            config,
            needed,
        }
    }

    /// Whether that delivery cannot do without it.
    #[must_use]
    pub fn needed_for(&self, delivery: Delivery) -> bool {
        match self.needed {
            Needed::Always => true,
            Needed::InThread => delivery == Delivery::InThread,
            Needed::Never => false,
        }
    }
}

const WP: &str = " with CONFIG_HAVE_ARCH_USERFAULTFD_WP and CONFIG_PTE_MARKER_UFFD_WP";
const MINOR: &str = " with CONFIG_HAVE_ARCH_USERFAULTFD_MINOR";

/// All features that memfold knows of.
pub const FEATURES: [Feature; 7] = [
    Feature::new(
        "PAGEFAULT_FLAG_WP",
        abi::FEATURE_PAGEFAULT_FLAG_WP,
        "5.7",
        WP,
        Needed::Always,
    ),
    Feature::new(
        "MISSING_SHMEM",
        abi::FEATURE_MISSING_SHMEM,
        "4.11",
        "",
        Needed::Always,
    ),
    Feature::new("SIGBUS", abi::FEATURE_SIGBUS, "4.14", "", Needed::InThread),
    Feature::new(
        "MINOR_SHMEM",
        abi::FEATURE_MINOR_SHMEM,
        "5.14",
        MINOR,
        Needed::Always,
    ),
    Feature::new(
        "WP_HUGETLBFS_SHMEM",
        abi::FEATURE_WP_HUGETLBFS_SHMEM,
        "5.19",
        WP,
        Needed::Always,
    ),
    Feature::new(
        "WP_UNPOPULATED",
        abi::FEATURE_WP_UNPOPULATED,
        "6.4",
        WP,
        Needed::Always,
    ),
    Feature::new("POISON", abi::FEATURE_POISON, "6.6", "", Needed::Never),
];

/// By which door a userfaultfd was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The system call.
    Syscall,
    /// `/dev/userfaultfd`.
    Device,
}

/// Opens the kind of userfaultfd, by the first door that is open.
pub(crate) fn descriptor(mode: UserMode) -> Result<(OwnedFd, Door), OpenError> {
    let flags = match mode {
        UserMode::UserOnly => abi::UFFD_USER_MODE_ONLY,
        UserMode::Full => 0,
    };
    let refused = match sys::open::userfaultfd(flags) {
        Ok(fd) => return Ok((fd, Door::Syscall)),
        Err(Errno(errno @ (libc::EMFILE | libc::ENFILE | libc::ENOMEM))) => {
            return Err(OpenError::Resources {
                what: "a userfaultfd",
                errno,
            });
        }
        Err(Errno(errno)) => errno,
    };
    // A container's filter may refuse the system call and leave the device.
    match (sys::open::userfaultfd_device(flags), mode) {
        (Ok(fd), _) => Ok((fd, Door::Device)),
        (Err(_), _) if refused == libc::ENOSYS => Err(OpenError::NoUserfaultfd { errno: refused }),
        (Err(_), UserMode::UserOnly) if refused == libc::EPERM => {
            Err(OpenError::UserModeRefused { errno: refused })
        }
        (Err(_), UserMode::UserOnly) => Err(OpenError::NoUserfaultfd { errno: refused }),
        (Err(Errno(device)), UserMode::Full) => Err(OpenError::FullRefused {
            syscall: refused,
            device,
        }),
    }
}

/// The kernel's feature bits.
pub(crate) fn features(mode: UserMode) -> Result<u64, OpenError> {
    let (fd, _) = descriptor(mode)?;
    handshake(fd.as_fd(), 0).map_err(|Errno(errno)| OpenError::NoUserfaultfd { errno })
}

/// The features that `delivery` will use, out of those that are there.
pub(crate) fn choose(there: u64, delivery: Delivery) -> Result<u64, OpenError> {
    let mut chosen = 0;
    for feature in &FEATURES {
        let wanted =
            feature.needed_for(delivery) || (delivery == Delivery::Thread && feature.needed == Needed::Never);
        if there & feature.bit == 0 && feature.needed_for(delivery) {
            let Feature {
                name, since, config, ..
            } = *feature;
            return Err(OpenError::MissingFeature {
                feature: name,
                since,
                config,
            });
        }
        if wanted {
            chosen |= there & feature.bit;
        }
    }
    Ok(chosen)
}

/// A userfaultfd that turns every fault on an empty page into a signal, or an error of the system
/// call that touched it.
pub(crate) fn open_fence(mode: UserMode, holder: &Arc<Holder>) -> Result<Uffd, OpenError> {
    let (fd, _) = descriptor(mode)?;
    let features = abi::FEATURE_SIGBUS | abi::FEATURE_MISSING_SHMEM;
    Uffd::agree(fd, features, holder).map_err(|Errno(errno)| OpenError::Resources {
        what: "userfaultfd's handshake",
        errno,
    })
}

/// A userfaultfd ready for `delivery`.
pub(crate) fn open(mode: UserMode, delivery: Delivery, holder: &Arc<Holder>) -> Result<Uffd, OpenError> {
    let chosen = choose(features(mode)?, delivery)?;
    let (fd, _) = descriptor(mode)?;
    Uffd::agree(fd, chosen, holder).map_err(|Errno(errno)| OpenError::Resources {
        what: "userfaultfd's handshake",
        errno,
    })
}
