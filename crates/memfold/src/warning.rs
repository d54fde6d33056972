//! What a [`Memory`](crate::Memory) found when it was built, or since, that does not keep it from
//! working but may end it later.
//!
//! Each is also an event of `tracing`, at the moment when it is found; never in a fault.

use memfold_linux::Delivery;

/// A setting of the machine or the process that is at odds with what was asked for; it works, for
/// the time being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// The process's control group, or one above it, may hold less memory than the budget.
    #[error(
        "the budget of {budget} bytes is more than the {limit} bytes that the process's control group may hold: the kernel \
         may end the process before the budget is full; lower the budget"
    )]
    GroupLimit {
        /// Bytes that the group may hold.
        limit: u64,
        /// The budget in bytes; `u64::MAX` when there is none.
        budget: u64,
    },
    /// The machine began to make huge pages in memory files after the memory was built, so that
    /// more is held than is charged. Found where the two are compared: by
    /// [`Memory::stats`](crate::Memory::stats) and [`Memory::warnings`](crate::Memory::warnings).
    #[error(
        "{held} bytes of shared pages are held where {charged} are charged: the machine makes huge pages in memory files since the \
         memory was built; new pages are kept single from now on; echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled"
    )]
    HugePool {
        /// Bytes that the kernel counts.
        held: u64,
        /// Bytes that were charged.
        charged: u64,
    },
    /// The thread that built the memory cannot use spaces.
    #[error(transparent)]
    Thread(#[from] memfold_linux::ThreadError),
}

impl Warning {
    /// All there is to say about a budget on this machine.
    pub(crate) fn about(budget: u64, delivery: Delivery) -> Vec<Self> {
        let thread = match delivery {
            Delivery::InThread => memfold_linux::check_thread().err(),
            Delivery::Thread => None,
        };
        let limit = memfold_linux::group_memory_bytes().filter(|&limit| limit < budget);
        let group = limit.map(|limit| Self::GroupLimit { limit, budget });
        group.into_iter().chain(thread.map(Self::Thread)).collect()
    }

    /// Says it to whoever listens to the process's events.
    pub(crate) fn log(&self) {
        tracing::warn!(target: "memfold", "{self}");
    }
}
