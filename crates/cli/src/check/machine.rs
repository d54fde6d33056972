//! What the machine offers and allows, judged: one [`Line`] for each thing that memfold needs. Only
//! reads.

use super::{Line, Verdict};
use memfold::Delivery;
use memfold::linux::{FEATURES, Huge, OpenError, Overcommit, Report, probe};
use memfold_size::show;

/// So many clones should be possible without touching a setting.
const WINDOWS_WANTED: u64 = 10_000;
/// memfold itself opens a handful; what the program around it opens comes on top.
const DESCRIPTORS_WANTED: u64 = 256;
/// Less memory than this leaves nothing to manage.
const MEMORY_WANTED: u64 = 256 << 20;

/// Everything there is to say about this machine.
pub(super) fn lines() -> Vec<Line> {
    let report = probe();
    let mut lines = vec![Line::ok("kernel", report.kernel.as_str())];
    lines.push(delivery(&report, "faults in the thread", Delivery::InThread));
    lines.push(thread_delivery(&report));
    lines.push(features(&report));
    lines.push(pagemap(&report.pagemap_scan));
    lines.push(maps(&report));
    lines.push(address_space(&report));
    lines.push(descriptors(&report));
    lines.push(overcommit(&report));
    lines.push(huge_pages(&report));
    lines.push(file_size(&report));
    lines.push(memory(&report, report.group_limit));
    lines
}

fn delivery(report: &Report, name: &'static str, delivery: Delivery) -> Line {
    match report.can(delivery) {
        Ok(()) => Line::ok(name, "userfaultfd can be used"),
        Err(error) => Line::missing(name, "userfaultfd cannot be used", error.to_string()),
    }
}

/// Not needed by default, so its lack is a warning.
fn thread_delivery(report: &Report) -> Line {
    let line = delivery(report, "faults by a thread", Delivery::Thread);
    if line.verdict == Verdict::Missing {
        let advice = line.advice.unwrap_or_default();
        return Line::warning(line.name, "--delivery thread cannot be used", advice);
    }
    line
}

fn features(report: &Report) -> Line {
    let name = "userfaultfd features";
    let missing: Vec<&str> = FEATURES
        .iter()
        .filter(|feature| feature.needed_for(Delivery::InThread) && !report.has(feature))
        .map(|feature| feature.name)
        .collect();
    if missing.is_empty() {
        return Line::ok(name, format!("all {} that are needed", FEATURES.len()));
    }
    let advice = "use Linux 6.7 or later with userfaultfd's write protection and minor faults built in";
    Line::missing(name, format!("without {}", missing.join(", ")), advice)
}

fn pagemap(scan: &Result<(), OpenError>) -> Line {
    match scan {
        Ok(()) => Line::ok("page table scan", "can be used"),
        Err(error) => Line::missing("page table scan", "cannot be used", error.to_string()),
    }
}

fn maps(report: &Report) -> Line {
    let name = "vm.max_map_count";
    let (Some(maps), Some(windows)) = (report.max_map_count, report.windows()) else {
        return Line::warning(name, "cannot be read", "mount /proc");
    };
    let found = format!("{maps}: about {windows} clones at a time");
    if windows < WINDOWS_WANTED {
        return Line::warning(name, found, "for more, raise it: sysctl vm.max_map_count=65530");
    }
    Line::ok(name, found)
}

fn address_space(report: &Report) -> Line {
    let name = "RLIMIT_AS";
    match report.address_space_limit {
        None => Line::ok(name, "no limit"),
        Some(bytes) => Line::warning(
            name,
            show(bytes),
            "each clone takes a little more than 4 GiB of addresses, though not of memory: ulimit -v unlimited",
        ),
    }
}

fn descriptors(report: &Report) -> Line {
    let name = "RLIMIT_NOFILE";
    match report.descriptor_limit {
        None => Line::ok(name, "no limit"),
        Some(most) if most >= DESCRIPTORS_WANTED => Line::ok(name, format!("{most}; clones take none")),
        Some(most) => Line::warning(name, most.to_string(), "raise it: ulimit -n 1024"),
    }
}

fn overcommit(report: &Report) -> Line {
    let name = "vm.overcommit_memory";
    match report.overcommit {
        Some(Overcommit::Heuristic) => Line::ok(name, "0: heuristic"),
        Some(Overcommit::Always) => Line::ok(name, "1: always"),
        Some(Overcommit::Strict) => Line::warning(
            name,
            "2: strict; every clone's whole size counts",
            "for many clones: sysctl vm.overcommit_memory=0",
        ),
        None => Line::warning(name, "cannot be read", "mount /proc"),
    }
}

fn huge_pages(report: &Report) -> Line {
    let name = "huge pages in files";
    match &report.huge_pool {
        Some(Huge::Yes(setting)) => Line::ok(name, format!("{setting}, but not in memfold's")),
        Some(Huge::No) | None => Line::ok(name, "not used"),
    }
}

fn file_size(report: &Report) -> Line {
    let name = "RLIMIT_FSIZE";
    match report.file_size_limit {
        None => Line::ok(name, "no limit"),
        Some(bytes) => Line::warning(
            name,
            show(bytes),
            "the pages that clones share are a file of that size at most: ulimit -f unlimited",
        ),
    }
}

fn memory(report: &Report, group: Option<u64>) -> Line {
    let name = "memory";
    let Some(total) = report.total_ram else {
        return Line::warning(name, "cannot be read", "mount /proc");
    };
    let (usable, found) = match group.filter(|&limit| limit < total) {
        Some(limit) => (
            limit,
            format!("{}, of {} (control group)", show(limit), show(total)),
        ),
        None => (total, show(total)),
    };
    if usable < MEMORY_WANTED {
        return Line::warning(name, found, "give every run a --budget well below that");
    }
    Line::ok(name, found)
}

#[cfg(test)]
mod tests {
    //! Goal: each lack gets its verdict and its advice. Method: a probe of this machine, changed.
    use super::*;

    #[test]
    fn a_machine_without_permission_is_missing_something() {
        let mut report = probe();
        report.user_only = Err(OpenError::UserModeRefused { errno: 1 });
        let line = delivery(&report, "x", Delivery::InThread);
        assert_eq!(line.verdict, Verdict::Missing);
        assert!(line.advice.unwrap().contains("seccomp"));
        report.full = Err(OpenError::FullRefused {
            syscall: 1,
            device: 2,
        });
        let line = thread_delivery(&report);
        assert_eq!(line.verdict, Verdict::Warning);
        assert!(line.advice.unwrap().contains("vm.unprivileged_userfaultfd=1"));
    }

    #[test]
    fn old_kernels_are_told_what_is_missing() {
        let mut report = probe();
        report.features = Some(0);
        let line = features(&report);
        assert_eq!(line.verdict, Verdict::Missing);
        assert!(line.found.contains("MINOR_SHMEM"), "{}", line.found);
        report.pagemap_scan = Err(OpenError::NoPagemapScan { errno: 25 });
        assert_eq!(pagemap(&report.pagemap_scan).verdict, Verdict::Missing);
    }

    #[test]
    fn low_limits_are_warnings() {
        let mut report = probe();
        report.max_map_count = Some(5_000);
        report.descriptor_limit = Some(64);
        report.address_space_limit = Some(1 << 40);
        report.file_size_limit = Some(1 << 30);
        report.overcommit = Some(Overcommit::Strict);
        report.total_ram = Some(1 << 30);
        let lines = [
            maps(&report),
            descriptors(&report),
            address_space(&report),
            file_size(&report),
            overcommit(&report),
            memory(&report, Some(64 << 20)),
        ];
        for line in lines {
            assert_eq!(line.verdict, Verdict::Warning, "{line:?}");
            assert!(line.advice.is_some());
        }
        assert_eq!(memory(&report, None).verdict, Verdict::Ok);
    }
}
