//! The folder of a control plane, removed when nobody needs it any more.
//!
//! What the programs wrote is worth most when a test failed, and a test may fail
//! after its control plane is gone (by returning an error). So the folders stay
//! until this process ends, and a small shell beside it removes them then, unless
//! there was a panic. The shell learns of the end by its input being closed,
//! which also happens when this process is killed.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, Once, PoisonError};

use anyhow::{Context, Result};

/// Set to anything, it keeps every folder.
pub const KEEP_ENV: &str = "EVENKEEL_E2E_KEEP";

/// Reads one folder a line until the end of its input; then removes them, unless
/// one of the lines said to keep. Children that die with us may still be
/// writing, hence the second attempt.
const JANITOR: &str = r#"
keep=
set --
while IFS= read -r line; do
    if [ "$line" = keep ]; then keep=1; else set -- "$@" "$line"; fi
done
[ -n "$keep" ] || rm -rf -- "$@" 2>/dev/null || { sleep 1; rm -rf -- "$@"; }
"#;

struct Janitor {
    orders: Option<ChildStdin>,
    folders: Vec<PathBuf>,
}

static JANITOR_STATE: Mutex<Janitor> = Mutex::new(Janitor {
    orders: None,
    folders: Vec::new(),
});

/// A folder with the files and logs of one control plane.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes one under the system's folder for temporary files.
    pub(crate) fn new() -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix("evenkeel-bed-")
            // It holds the administrator's token.
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("making a folder for the control plane")?
            .keep();
        watch_panics();
        let mut janitor = JANITOR_STATE.lock().unwrap_or_else(PoisonError::into_inner);
        if janitor.orders.is_none() {
            janitor.orders = Some(start_janitor()?);
        }
        if std::env::var_os(KEEP_ENV).is_some() {
            eprintln!("logs of the control plane stay in {}", path.display());
            janitor.order("keep");
        }
        janitor.order(&path.display().to_string());
        janitor.folders.push(path.clone());
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Janitor {
    fn order(&mut self, line: &str) {
        if let Some(orders) = &mut self.orders {
            // Without the janitor the folders stay, which is no harm.
            drop(writeln!(orders, "{line}"));
        }
    }
}

fn start_janitor() -> Result<ChildStdin> {
    Command::new("sh")
        .args(["-c", JANITOR])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // Inherited, so that who reads it to its end knows that the folders are gone.
        .process_group(0)
        .spawn()
        .context("starting a shell")?
        .stdin
        .context("the shell has no input")
}

/// From now on a panic anywhere keeps the folders and says where they are.
fn watch_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            let mut janitor = JANITOR_STATE.lock().unwrap_or_else(PoisonError::into_inner);
            janitor.order("keep");
            for folder in &janitor.folders {
                eprintln!("logs of the control plane stay in {}", folder.display());
            }
        }));
    });
}
