//! What the kernel's side needs: a zram device as swap, a memory cgroup, no read-ahead of swap.
//! Everything is put back when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CONTROL: &str = "/sys/class/zram-control";
const CLUSTER: &str = "/proc/sys/vm/page-cluster";
/// The folder of control groups, old and new.
const GROUPS: [(&str, &str); 2] = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ("/sys/fs/cgroup", "memory.max"),
];
const NAME: &str = "memfold-pressure";

/// The rival's machinery.
#[derive(Debug)]
pub struct Rival {
    number: String,
    cluster: String,
}

fn write(path: impl AsRef<Path>, value: &str) -> Result<(), String> {
    let path = path.as_ref();
    fs::write(path, value).map_err(|error| format!("{}: {error}", path.display()))
}

fn command(name: &str, args: &[&str]) -> Result<(), String> {
    let done = Command::new(name).args(args).output();
    match done {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!(
            "{name}: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        )),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

impl Rival {
    /// A zram device of our own.
    ///
    /// # Errors
    /// What this machine lacks, or does not allow.
    pub fn open() -> Result<Self, String> {
        group().ok_or("there is no memory cgroup here that can be written")?;
        let cluster = fs::read_to_string(CLUSTER).map_err(|error| format!("{CLUSTER}: {error}"))?;
        let add = format!("{CONTROL}/hot_add");
        let number =
            fs::read_to_string(&add).map_err(|error| format!("{add}: {error} (it needs root, and zram)"))?;
        let rival = Self {
            number: number.trim().to_owned(),
            cluster: cluster.trim().to_owned(),
        };
        rival.up()?;
        rival.down();
        Ok(rival)
    }

    /// Runs the kernel's side with an empty device as the first swap.
    ///
    /// # Panics
    /// When the device cannot be set up any more.
    pub fn during<R>(&self, side: impl FnOnce() -> R) -> R {
        self.up().expect("it could be set up before");
        // The group's process finds the device's number here.
        fs::write(note(), &self.number).expect("a small file");
        let result = side();
        self.down();
        result
    }

    fn device(&self) -> String {
        format!("/dev/zram{}", self.number)
    }

    fn up(&self) -> Result<(), String> {
        let (block, device) = (block(&self.number), self.device());
        if !Path::new(&device).exists() {
            let numbers = fs::read_to_string(block.join("dev")).map_err(|error| error.to_string())?;
            let (major, minor) = numbers.trim().split_once(':').ok_or("no device number")?;
            command("mknod", &[&device, "b", major, minor])?;
        }
        write(block.join("comp_algorithm"), "lz4")?;
        write(block.join("disksize"), "4G")?;
        write(CLUSTER, "0")?;
        command("mkswap", &[&device])?;
        command("swapon", &["-p", "32000", &device])
    }

    fn down(&self) {
        let _ = fs::remove_file(note());
        if let Some(group) = group() {
            let _ = fs::remove_dir(group.join(NAME));
        }
        // It was perhaps never on.
        let _ = command("swapoff", &[&self.device()]);
        let _ = write(block(&self.number).join("reset"), "1");
        let _ = write(CLUSTER, &self.cluster);
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.down();
        if let Err(error) = write(format!("{CONTROL}/hot_remove"), &self.number) {
            eprintln!("cannot put back: {error}");
        }
        let _ = fs::remove_file(self.device());
    }
}

fn block(number: &str) -> PathBuf {
    PathBuf::from(format!("/sys/block/zram{number}"))
}

fn note() -> PathBuf {
    std::env::temp_dir().join(NAME)
}

/// Where groups with a limit of memory can be made.
fn group() -> Option<PathBuf> {
    // The new hierarchy may have to be told that its groups limit memory.
    let _ = write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
    GROUPS.into_iter().find_map(|(folder, limit)| {
        let folder = PathBuf::from(folder);
        let own = folder.join(NAME);
        let made = fs::create_dir(&own).is_ok() || own.exists();
        let has = made && own.join(limit).exists();
        let _ = fs::remove_dir(own);
        has.then_some(folder)
    })
}

/// Puts this process under a limit; what it has touched already is not counted.
///
/// # Errors
/// What this machine lacks, or does not allow.
pub fn enter(bytes: u64) -> Result<(), String> {
    let folder = group().ok_or("there is no memory cgroup")?;
    let own = folder.join(NAME);
    // One that was ended may have left it.
    if !own.exists() {
        fs::create_dir(&own).map_err(|error| format!("{}: {error}", own.display()))?;
    }
    let limit = GROUPS
        .into_iter()
        .map(|(_, limit)| own.join(limit))
        .find(|path| path.exists())
        .ok_or("the group has no limit")?;
    write(limit, &bytes.to_string())?;
    write(own.join("cgroup.procs"), &std::process::id().to_string())
}

/// Leaves the group, so that it can go.
pub fn leave() {
    if let Some(folder) = GROUPS
        .into_iter()
        .map(|(folder, _)| PathBuf::from(folder))
        .find(|folder| folder.join(NAME).exists())
    {
        let _ = write(folder.join("cgroup.procs"), &std::process::id().to_string());
    }
}

/// What the device holds now, in MiB.
#[must_use]
pub fn held_mib() -> u64 {
    let number = fs::read_to_string(note()).unwrap_or_default();
    let stat = fs::read_to_string(block(&number).join("mm_stat")).unwrap_or_default();
    // The third number: bytes of memory in use.
    let used = stat
        .split_whitespace()
        .nth(2)
        .and_then(|bytes| bytes.parse::<u64>().ok());
    used.unwrap_or(0) >> 20
}
