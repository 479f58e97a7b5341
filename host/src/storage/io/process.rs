//! Which process this is, and whether another one lives: a number that is used again belongs to a process that started
//! at another time. It refuses to guess: where the system does not tell, a process counts as living.

use std::fs;
use std::process;

/// A process of this run of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: u32,
    /// When it started, in the system's own measure, mixed with which run of the machine it is; 0 stands for any time.
    pub(crate) started: u64,
}

/// What is known of a process number.
enum Known {
    Started(u64),
    Dead,
    /// The system does not say.
    Unknown,
}

/// This process.
pub(super) fn current() -> Process {
    let id = process::id();
    let started = match started(id) {
        Known::Started(started) => started,
        Known::Dead | Known::Unknown => 1,
    };
    Process { id, started }
}

/// Whether a process runs still.
pub(super) fn is_alive(process: Process) -> bool {
    match started(process.id) {
        Known::Started(started) => process.started == 0 || started == process.started,
        Known::Dead => false,
        Known::Unknown => true,
    }
}

fn started(id: u32) -> Known {
    let Ok(boot) = fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return Known::Unknown };
    // "12 (name) S 1 …": the name may hold anything, so what follows its last parenthesis counts.
    let Ok(text) = fs::read_to_string(format!("/proc/{id}/stat")) else { return Known::Dead };
    let mut fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    match (fields.next(), fields.nth(18).and_then(|ticks| ticks.parse::<u64>().ok())) {
        // Killed, and its parent did not ask yet.
        (Some("Z" | "X"), _) => Known::Dead,
        (_, Some(ticks)) => Known::Started((u64::from(crc32c::crc32c(boot.as_bytes())) << 32 ^ ticks).max(1)),
        (_, None) => Known::Unknown,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_lives_until_it_ends_even_if_nobody_asks() {
        let own = current();
        assert!(is_alive(own) && own.id == process::id());
        assert!(!is_alive(Process { started: own.started + 1, ..own }));
        let mut child = process::Command::new("cat").stdin(process::Stdio::piped()).spawn().unwrap();
        let started = match started(child.id()) {
            Known::Started(started) => started,
            Known::Dead | Known::Unknown => 0,
        };
        let other = Process { id: child.id(), started };
        assert!(started > 0 && is_alive(other));
        child.kill().unwrap();
        // Its entry stays, as a zombie, until it is waited for.
        while is_alive(other) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!is_alive(other));
    }
}
