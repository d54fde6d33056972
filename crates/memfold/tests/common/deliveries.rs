//! What is tried with both ways in which faults are delivered.

use memfold::{Delivery, Memory, MemoryBuilder, OnLoss};

/// A memory for each, where a failed access is told by the space, and no signal; `set` says more.
pub fn memories(limit: u64, set: impl Fn(MemoryBuilder) -> MemoryBuilder) -> impl Iterator<Item = Memory> {
    let deliveries = [Delivery::InThread, Delivery::Thread];
    deliveries.into_iter().map(move |delivery| {
        let builder = Memory::builder().budget_bytes(limit).on_loss(OnLoss::Sink);
        let memory = set(builder.delivery(delivery)).build();
        memory.expect("userfaultfd works here")
    })
}
