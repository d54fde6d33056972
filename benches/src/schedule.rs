//! How a benchmark's threads are scheduled, and for how long: other work of the machine shall not
//! come in between.
#![expect(unsafe_code, reason = "system calls that std does not have")]

/// Among the real-time priorities.
pub const PRIORITY: i32 = 50;

/// Schedules the calling thread in real time, where that is allowed. Does nothing with
/// `PRIORITY=usual` in the environment.
pub fn first_in_line(priority: i32) {
    if std::env::var("PRIORITY").is_ok_and(|wanted| wanted == "usual") {
        return;
    }
    // SAFETY: plain structures; the calls change how this thread is scheduled.
    unsafe {
        let mut of: libc::sched_param = std::mem::zeroed();
        of.sched_priority = priority;
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const of);
    }
}

/// Keeps the calling thread on one core, counted round.
pub fn pin(thread: usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // SAFETY: as above.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(thread % cores, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

/// Processor time of this process, in seconds.
#[must_use]
pub fn cpu_seconds() -> f64 {
    // SAFETY: a plain structure, which the call fills.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut used);
        used
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(used.ru_utime) + seconds(used.ru_stime)
}
