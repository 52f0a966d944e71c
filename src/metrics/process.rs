//! What Linux reports of this process.

/// Ticks of a second in `/proc/self/stat`: `USER_HZ` is 100 on every architecture that Linux still builds for
/// (`include/asm-generic/param.h`).
const TICKS: f64 = 100.0;

/// CPU, memory and start of this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Process {
    /// CPU time, user and system, seconds.
    pub(super) cpu_seconds: f64,
    /// Resident memory, bytes.
    pub(super) resident_bytes: f64,
    /// When it began, seconds since the Unix epoch.
    pub(super) start_seconds: f64,
}

/// Reads `/proc`; `None` where there is none.
pub(super) fn read() -> Option<Process> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    parse(&stat, &status, &system)
}

/// `proc_pid_stat(5)`: fields after the parenthesised command are counted from 3.
fn parse(stat: &str, status: &str, system: &str) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let line = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(Process {
        cpu_seconds: (field(14)? + field(15)?) / TICKS,
        resident_bytes: line(status, "VmRSS:")? * 1024.0,
        start_seconds: line(system, "btime")? + field(22)? / TICKS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_spaces_and_parentheses_moves_no_field() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 1000 1 2";
        let process = parse(stat, "Name:\tx\nVmRSS:\t  2048 kB\n", "cpu 1\nbtime 1700000000\n");
        let expected = Process {
            cpu_seconds: 3.0,
            resident_bytes: 2048.0 * 1024.0,
            start_seconds: 1_700_000_010.0,
        };
        assert_eq!(process, Some(expected));
    }

    #[test]
    fn this_process_can_be_read() {
        let process = read().expect("/proc");
        assert!(process.resident_bytes > 1e6 && process.start_seconds > 1.6e9);
    }
}
