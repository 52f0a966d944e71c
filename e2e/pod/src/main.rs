//! The one program inside the test bed's own images.
//!
//! `pause` holds a set of namespaces open and takes in orphans: it is the first
//! process of every simulated machine and of every Pod's sandbox. `serve` is what
//! tests put behind Services. Both are one static file, so that an image of it
//! needs nothing else.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

/// How long `pause` sleeps when it has no children; an orphan is a zombie for as
/// long at most.
const IDLE: Duration = Duration::from_millis(500);

/// A client that sends nothing may not hold a thread for longer.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Where `serve` listens unless `PORT` says otherwise.
const DEFAULT_PORT: u16 = 8080;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("pause") => pause(),
        Some("serve") => match serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("serve: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: evenkeel-pod pause|serve");
            ExitCode::from(2)
        }
    }
}

/// Never ends by itself: a first process is ended with SIGKILL from outside.
fn pause() -> ! {
    loop {
        if let Err(Errno::CHILD) = wait(WaitOptions::empty()) {
            thread::sleep(IDLE);
        }
    }
}

/// Answers until it is ended.
///
/// - `/`: the Pod's name, as the host name
/// - `/readyz`: 200 or 503
/// - `/unready`, `/ready`: turns the readiness off and on
fn serve() -> io::Result<()> {
    let port = std::env::var("PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(DEFAULT_PORT);
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    println!("listening on port {port}");
    let ready = Arc::new(AtomicBool::new(true));
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let ready = Arc::clone(&ready);
        thread::spawn(move || {
            // A client that went away is its own affair.
            drop(answer(&stream, &ready));
        });
    }
    Ok(())
}

fn answer(mut stream: &TcpStream, ready: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_WITHIN))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The rest of the head has to be read, or closing would reset the connection.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (status, body) = match request.split(' ').nth(1) {
        Some("/") => ("200 OK", hostname()),
        Some("/readyz") if ready.load(Ordering::Relaxed) => ("200 OK", "ready".to_owned()),
        Some("/readyz") => ("503 Service Unavailable", "not ready".to_owned()),
        Some(path @ ("/ready" | "/unready")) => {
            ready.store(path == "/ready", Ordering::Relaxed);
            println!("asked for {path}");
            ("200 OK", "done".to_owned())
        }
        _ => ("404 Not Found", "no such path".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}\n",
        body.len() + 1
    )
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
