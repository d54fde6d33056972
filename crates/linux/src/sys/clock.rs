//! The processor time of a thread.

use std::time::Duration;

/// Processor time that the calling thread has used, in programs and in the kernel, since it began.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "every thread has this clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Goal: it counts work and not waiting.
    #[test]
    fn work_counts_and_waiting_does_not() {
        let before = thread_cpu_time();
        std::thread::sleep(Duration::from_millis(30));
        let waited = thread_cpu_time() - before;
        assert!(waited < Duration::from_millis(20), "{waited:?}");
        let begin = Instant::now();
        while thread_cpu_time() - before < Duration::from_millis(25) {}
        assert!(begin.elapsed() >= Duration::from_millis(20) - waited);
    }
}
