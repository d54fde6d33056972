//! What a [`Memory`](crate::Memory) found when it was built that does not keep it from working, but may end it later.

use memfold_linux::Delivery;

/// A setting of the machine or the process that is at odds with what was asked for; it works, for the time being.
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
}
