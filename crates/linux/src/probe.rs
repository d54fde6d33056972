//! What this machine offers to memfold: for `memfold check` and for error messages.
//!
//! [`probe`] opens what it can and closes it again, and reads a few settings; nothing is kept or
//! changed. What cannot be read is `None`.

use std::fmt;
use std::sync::Arc;

use crate::abi;
use crate::error::OpenError;
use crate::fault::Delivery;
use crate::group;
use crate::opening::{self, Door, FEATURES, UserMode};
use crate::scan::Pagemap;
use crate::sys::{self, Errno, open::Limit};

/// `vm.overcommit_memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overcommit {
    /// 0: refuses obvious excess; windows are exempt.
    Heuristic,
    /// 1: never refuses.
    Always,
    /// 2: every accessible byte of a window counts against a limit of the machine.
    Strict,
}

/// `/sys/kernel/mm/transparent_hugepage/shmem_enabled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Huge {
    /// The pool is made of single pages, as it must be for memory to be freed page by page.
    No,
    /// The setting (its name) makes the kernel use huge pages in files: the pool is then written
    /// through a mapping that cannot have them, which is a little slower.
    Yes(String),
}

/// What [`probe`] found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The kernel's release, as `uname -r`.
    pub kernel: String,
    /// Bytes of a page.
    pub page_size: usize,
    /// By which door a userfaultfd for user-mode faults is had.
    pub user_only: Result<Door, OpenError>,
    /// By which door one for all faults is had.
    pub full: Result<Door, OpenError>,
    /// The kernel's userfaultfd features; [`FEATURES`] names the bits.
    pub features: Option<u64>,
    /// Whether page tables can be scanned.
    pub pagemap_scan: Result<(), OpenError>,
    /// `vm.unprivileged_userfaultfd`.
    pub unprivileged_userfaultfd: Option<u64>,
    /// `vm.max_map_count`: a window takes two.
    pub max_map_count: Option<u64>,
    /// `vm.overcommit_memory`.
    pub overcommit: Option<Overcommit>,
    /// Huge pages in the pool.
    pub huge_pool: Option<Huge>,
    /// Bytes of memory of the machine.
    pub total_ram: Option<u64>,
    /// Bytes of memory that the process's control group may hold, or one above it; `None`: no
    /// limit, or it cannot be read.
    pub group_limit: Option<u64>,
    /// Bytes of address space that the process may use; `None`: no limit.
    pub address_space_limit: Option<u64>,
    /// Bytes that the process may lock; `None`: no limit.
    pub memlock_limit: Option<u64>,
    /// Bytes of a file that the process may make, the pool too; `None`: no limit.
    pub file_size_limit: Option<u64>,
    /// How many descriptors the process may have; `None`: no limit.
    pub descriptor_limit: Option<u64>,
}

/// Looks at the machine. Costs less than a millisecond; any thread, any time.
#[must_use]
pub fn probe() -> Report {
    let door = |mode| opening::descriptor(mode).map(|(_, door)| door);
    let pagemap_scan = Pagemap::open(&Arc::default())
        .map(drop)
        .map_err(|Errno(errno)| OpenError::NoPagemapScan { errno });
    Report {
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
        page_size: sys::open::page_size(),
        user_only: door(UserMode::UserOnly),
        full: door(UserMode::Full),
        features: opening::features(UserMode::UserOnly)
            .or_else(|_| opening::features(UserMode::Full))
            .ok(),
        pagemap_scan,
        unprivileged_userfaultfd: number("/proc/sys/vm/unprivileged_userfaultfd"),
        max_map_count: number("/proc/sys/vm/max_map_count"),
        overcommit: match number("/proc/sys/vm/overcommit_memory") {
            Some(0) => Some(Overcommit::Heuristic),
            Some(1) => Some(Overcommit::Always),
            Some(2) => Some(Overcommit::Strict),
            _ => None,
        },
        huge_pool: read("/sys/kernel/mm/transparent_hugepage/shmem_enabled").and_then(|text| huge(&text)),
        total_ram: read("/proc/meminfo").and_then(|text| total_ram(&text)),
        group_limit: group::limit(),
        address_space_limit: sys::open::limit(Limit::AddressSpace),
        memlock_limit: sys::open::limit(Limit::Memlock),
        file_size_limit: sys::open::limit(Limit::FileSize),
        descriptor_limit: sys::open::limit(Limit::Descriptors),
    }
}

impl Report {
    /// Whether a host with this delivery can be opened here.
    ///
    /// # Errors
    /// The first obstacle, with the setting that mends it.
    pub fn can(&self, delivery: Delivery) -> Result<(), OpenError> {
        if self.page_size != memfold_host::addr::PAGE_SIZE {
            return Err(OpenError::PageSize {
                bytes: self.page_size,
            });
        }
        match delivery {
            Delivery::InThread => self.user_only.clone(),
            Delivery::Thread => self.full.clone(),
        }?;
        opening::choose(self.features.unwrap_or(0), delivery)?;
        self.pagemap_scan.clone()
    }

    /// Whether the kernel has a feature of [`FEATURES`].
    #[must_use]
    pub fn has(&self, feature: &opening::Feature) -> bool {
        self.features.is_some_and(|bits| bits & feature.bit != 0)
    }

    /// How many windows the setting `vm.max_map_count` allows, about; 1,000 mappings are left to
    /// the program.
    #[must_use]
    pub fn windows(&self) -> Option<u64> {
        self.max_map_count.map(|maps| maps.saturating_sub(1000) / 2)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = |delivery| {
            self.can(delivery)
                .map_or_else(|error| error.to_string(), |()| "yes".into())
        };
        let bytes = |limit: Option<u64>| limit.map_or_else(|| "no limit".into(), |n| format!("{n}"));
        let setting = |value: Option<u64>| value.map_or_else(|| "unknown".into(), |n| format!("{n}"));
        writeln!(f, "kernel                    {}", self.kernel)?;
        writeln!(f, "in-thread delivery        {}", verdict(Delivery::InThread))?;
        writeln!(f, "thread delivery           {}", verdict(Delivery::Thread))?;
        for feature in &FEATURES {
            let word = if self.has(feature) { "yes" } else { "no" };
            writeln!(f, "  {:<23} {word} (since Linux {})", feature.name, feature.since)?;
        }
        writeln!(
            f,
            "unprivileged_userfaultfd  {}",
            setting(self.unprivileged_userfaultfd)
        )?;
        writeln!(
            f,
            "max_map_count             {}, about {} windows",
            setting(self.max_map_count),
            setting(self.windows())
        )?;
        writeln!(
            f,
            "overcommit                {}",
            self.overcommit.map_or("unknown", Overcommit::describe)
        )?;
        let huge = match &self.huge_pool {
            None | Some(Huge::No) => "no",
            Some(Huge::Yes(setting)) => setting,
        };
        writeln!(f, "huge pages in the pool    {huge}")?;
        writeln!(f, "memory, bytes             {}", setting(self.total_ram))?;
        writeln!(f, "control group, bytes      {}", bytes(self.group_limit))?;
        writeln!(f, "address space, bytes      {}", bytes(self.address_space_limit))?;
        writeln!(f, "locked memory, bytes      {}", bytes(self.memlock_limit))?;
        writeln!(f, "file size, bytes          {}", bytes(self.file_size_limit))?;
        write!(f, "descriptors               {}", bytes(self.descriptor_limit))
    }
}

impl Overcommit {
    fn describe(self) -> &'static str {
        match self {
            Self::Heuristic => "heuristic (0)",
            Self::Always => "always (1)",
            Self::Strict => "strict (2): the whole length of every window counts",
        }
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn number(path: &str) -> Option<u64> {
    read(path)?.parse().ok()
}

/// Bytes of memory that the process's control group may hold, or one above it; `None`: no limit, or
/// it cannot be read.
#[must_use]
pub fn group_memory_bytes() -> Option<u64> {
    group::limit()
}

/// Bytes of memory that the machine has, 16 GiB when it does not say.
#[must_use]
pub fn memory_bytes() -> u64 {
    read("/proc/meminfo")
        .and_then(|text| total_ram(&text))
        .unwrap_or(16 << 30)
}

fn total_ram(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The chosen word stands in brackets. Only these two concern files without a mount option.
fn huge(setting: &str) -> Option<Huge> {
    let (_, rest) = setting.split_once('[')?;
    let (word, _) = rest.split_once(']')?;
    Some(match word {
        "never" | "deny" | "advise" => Huge::No,
        other => Huge::Yes(other.to_owned()),
    })
}

const _: () = assert!(abi::FEATURE_POISON == FEATURES[6].bit);

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the settings' texts are read as the kernel writes them. Method: samples.
    #[test]
    fn settings_are_read() {
        assert_eq!(
            total_ram("MemTotal:       24000000 kB\nMemFree: 1 kB"),
            Some(24_576_000_000)
        );
        assert_eq!(
            huge("always within_size advise [never] deny force"),
            Some(Huge::No)
        );
        assert_eq!(
            huge("[always] within_size advise never deny force"),
            Some(Huge::Yes("always".into()))
        );
        assert_eq!(huge(""), None);
    }

    /// Goal: a machine without a feature is told which, and since when. Method: take one bit away.
    #[test]
    fn a_missing_feature_is_named() {
        let all = FEATURES.iter().fold(0, |bits, feature| bits | feature.bit);
        assert_eq!(
            opening::choose(all, Delivery::Thread),
            Ok(all & !abi::FEATURE_SIGBUS)
        );
        assert!(opening::choose(all & !abi::FEATURE_POISON, Delivery::Thread).is_ok());
        let error = opening::choose(all & !abi::FEATURE_MINOR_SHMEM, Delivery::InThread).unwrap_err();
        assert!(
            error.to_string().contains("MINOR_SHMEM: it needs Linux 5.14"),
            "{error}"
        );
    }

    /// Goal: this machine can run the tests at all, and says what it lacks if not.
    #[test]
    fn this_machine_will_do() {
        let report = probe();
        println!("{report}");
        assert_eq!(report.can(Delivery::InThread), Ok(()));
        assert_eq!(report.can(Delivery::Thread), Ok(()));
    }
}
