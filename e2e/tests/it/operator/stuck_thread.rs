//! One thread of a process that stands, as if it had got stuck, while the others run on.

use std::fs;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nix::sys::ptrace;
use nix::unistd::Pid;

/// A thread that stands until this is dropped.
pub(super) struct StuckThread {
    release: Option<mpsc::Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl StuckThread {
    /// Stops the thread of this name.
    pub(super) fn of(process: u32, name: &str) -> Self {
        let thread = Pid::from_raw(thread_of(process, name));
        let (release, released) = mpsc::channel();
        let (stopped, is_stopped) = mpsc::channel();
        // Only the thread that has seized another may go on with it, and its end releases it (ptrace(2)).
        let tracer = thread::spawn(move || {
            ptrace::seize(thread, ptrace::Options::empty()).unwrap();
            ptrace::interrupt(thread).unwrap();
            stopped.send(()).unwrap();
            // An error says that the other end is dropped.
            let _ = released.recv();
        });
        is_stopped.recv().unwrap();
        Self {
            release: Some(release),
            tracer: Some(tracer),
        }
    }
}

impl Drop for StuckThread {
    fn drop(&mut self) {
        self.release.take();
        if let Some(tracer) = self.tracer.take() {
            drop(tracer.join());
        }
    }
}

/// The number of a thread by its name (proc(5), `task/*/comm`).
fn thread_of(process: u32, name: &str) -> i32 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut threads = tasks.map(|task| task.unwrap().path());
    let of_name =
        threads.find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    let of_name = of_name.unwrap_or_else(|| panic!("no thread {name}"));
    of_name.file_name().unwrap().to_str().unwrap().parse().unwrap()
}
