//! Which files a path stands for.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use evenkeel_core::findings::Unreadable;
use rustix::fs::OFlags;

/// The message for what may have no end.
const NO_FILE: &str = "is a pipe, socket or device and not a file, and was not read";

/// What a folder is searched for.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The files that a path stands for, sorted; `-` is standard input. A folder that links lead back to is entered once.
pub(super) fn files(path: &Path, problems: &mut Vec<Unreadable>) -> Vec<PathBuf> {
    if path == Path::new("-") || !path.is_dir() {
        return vec![path.into()];
    }
    let before = problems.len();
    let mut found = Vec::new();
    let mut entered = BTreeSet::new();
    let mut waiting = vec![path.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        match fs::canonicalize(&folder) {
            Ok(real) => {
                if !entered.insert(real) {
                    continue;
                }
            }
            Err(error) => {
                problems.push(problem(&folder, &error));
                continue;
            }
        }
        match fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => sort_in(entry.path(), &mut waiting, &mut found, problems),
                        Err(error) => problems.push(problem(&folder, &error)),
                    }
                }
            }
            Err(error) => problems.push(problem(&folder, &error)),
        }
    }
    if found.is_empty() && problems.len() == before {
        problems.push(Unreadable {
            source: path.display().to_string(),
            reason: "holds no .yaml, .yml or .json file".into(),
        });
    }
    found.sort();
    found
}

/// Hidden entries are left out: mounted configuration keeps a second copy of everything in `..data`.
fn sort_in(
    path: PathBuf,
    waiting: &mut Vec<PathBuf>,
    found: &mut Vec<PathBuf>,
    problems: &mut Vec<Unreadable>,
) {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().first() == Some(&b'.'));
    if hidden {
        return;
    }
    if path.is_dir() {
        waiting.push(path);
    } else if path
        .extension()
        .is_some_and(|ending| ENDINGS.iter().any(|one| ending.eq_ignore_ascii_case(one)))
    {
        // A pipe would wait for ever. A link to nowhere is kept, so that reading it reports it.
        if path.is_file() || !path.exists() {
            found.push(path);
        } else {
            problems.push(Unreadable {
                source: path.display().to_string(),
                reason: NO_FILE.into(),
            });
        }
    }
}

/// The bytes of a file or of standard input, at most so many.
pub(super) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limit = most.saturating_add(1);
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        open(path)?.take(limit).read_to_end(&mut bytes)
    };
    match done {
        Err(error) => Err(error.to_string()),
        Ok(read) if read as u64 > most => Err(format!(
            "is larger than {most} bytes; raise --max-file-size if that is meant"
        )),
        Ok(_) => Ok(bytes),
    }
}

/// Opens a file, or the pipe of a shell's `<(command)`. What it is, is asked of what was opened, and opening does not wait: a
/// pipe with a name, or a link to one, would wait for a writer.
fn open(path: &Path) -> Result<File, String> {
    let not_waiting = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(not_waiting).open(path);
    let file = file.map_err(|error| match fs::metadata(path) {
        Ok(found) if found.file_type().is_socket() => NO_FILE.into(),
        _ => error.to_string(),
    })?;
    let kind = file.metadata().map_err(|error| error.to_string())?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    if kind.is_dir() {
        return Err("is a folder, and was a file a moment ago".into());
    }
    if !kind.is_fifo() {
        return Err(NO_FILE.into());
    }
    // The pipe of `<(command)` has no name anywhere: its link in /proc leads to no path.
    if fs::canonicalize(path).is_ok() {
        return Err("is a named pipe, which may never end; pipe into `--from -` instead".into());
    }
    File::open(path).map_err(|error| error.to_string())
}

/// How a file is shown to people.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".into()
    } else {
        path.display().to_string()
    }
}

fn problem(path: &Path, error: &std::io::Error) -> Unreadable {
    Unreadable {
        source: path.display().to_string(),
        reason: error.to_string(),
    }
}
