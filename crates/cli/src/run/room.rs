//! Whether the process has room for so many clones and their memories, as far as that is known
//! before the first is made. Immutable values.

use memfold::linux::{self, Report};
use memfold_wasmtime::ADDRESSES_PER_MEMORY;
use std::fmt;

/// Instances that have memories beside the clones: the pristine one, and the one that is forked.
const MORE: u64 = 2;

/// Addresses of a process: 47 bits, 48 where the processor is not x86-64.
const ADDRESSES: u64 = if cfg!(target_arch = "x86_64") {
    1 << 47
} else {
    1 << 48
};

/// A limit that leaves too little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The kernel's setting: mappings of a process.
    Mappings { setting: u64, needed: u64 },
    /// RLIMIT_AS.
    AddressSpace { bytes: u64 },
    /// What a process can name.
    Addresses,
}

/// Room for fewer clones than were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Narrow {
    limit: Limit,
    /// About so many clones can be made.
    most: u64,
}

/// Refuses more clones than there can be, and says why.
pub(super) fn check(clones: u32, memories: usize) -> Result<(), Vec<Narrow>> {
    let memories = u64::try_from(memories).unwrap_or(u64::MAX);
    let narrow = narrow(&linux::probe(), u64::from(clones), memories);
    if narrow.is_empty() {
        return Ok(());
    }
    Err(narrow)
}

/// `each` instance has so many memories.
fn narrow(report: &Report, clones: u64, each: u64) -> Vec<Narrow> {
    let memories = (clones + MORE).saturating_mul(each);
    let limits = [
        report.windows().zip(report.max_map_count).map(|(most, setting)| {
            // As `Report::windows` has it, the other way round.
            let needed = setting + memories.saturating_sub(most) * 2;
            (Limit::Mappings { setting, needed }, most)
        }),
        report
            .address_space_limit
            .map(|bytes| (Limit::AddressSpace { bytes }, bytes / ADDRESSES_PER_MEMORY)),
        Some((Limit::Addresses, ADDRESSES / ADDRESSES_PER_MEMORY)),
    ];
    let narrow = limits.into_iter().flatten().filter(|&(_, most)| most < memories);
    narrow
        .map(|(limit, most)| Narrow {
            limit,
            most: (most / each).saturating_sub(MORE),
        })
        .collect()
}

impl fmt::Display for Narrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Narrow { limit, most } = *self;
        let each = ADDRESSES_PER_MEMORY >> 20;
        match limit {
            Limit::Mappings { setting, needed } => write!(
                f,
                "vm.max_map_count={setting} leaves room for about {most}, two mappings for each memory \
                 (`sysctl -w vm.max_map_count={needed}` is enough for all)"
            ),
            Limit::AddressSpace { bytes } => write!(
                f,
                "RLIMIT_AS={bytes} leaves room for about {most}, {each} MiB of addresses for each memory \
                 (`ulimit -v unlimited` lifts it)"
            ),
            Limit::Addresses => write!(
                f,
                "the addresses of a process, {} TiB, leave room for about {most}, {each} MiB for each memory \
                 (use several processes)",
                ADDRESSES >> 40
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: each limit is found where it is, and not before. Method: a report of this machine with
    //! other settings.
    use super::*;

    #[test]
    fn limits_are_found() {
        let mut report = linux::probe();
        report.max_map_count = Some(65_530);
        report.address_space_limit = None;
        let most = 32_265 - MORE;
        assert_eq!(narrow(&report, most, 1), []);
        let found = narrow(&report, most + 1, 1);
        let needed = 65_532;
        let setting = 65_530;
        assert_eq!(
            found,
            [Narrow {
                limit: Limit::Mappings { setting, needed },
                most
            }]
        );
        // What is advised is enough.
        report.max_map_count = Some(needed);
        assert_eq!(narrow(&report, most + 1, 1), []);

        assert_eq!(narrow(&report, 40_000, 1).len(), 2);
        report.address_space_limit = Some(10 << 32);
        let found = narrow(&report, 8, 1);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].to_string().contains("RLIMIT_AS=42949672960"),
            "{}",
            found[0]
        );
        assert_eq!(narrow(&report, 7, 1), []);
        // Two memories for each instance: four instances have eight.
        assert_eq!(narrow(&report, 2, 2), []);
        assert_eq!(narrow(&report, 3, 2)[0].most, 2);
        report.max_map_count = None;
        assert_eq!(narrow(&report, u64::from(u32::MAX), 1).len(), 2);
    }
}
