//! The bed's own images: one for the sandboxes of Pods, one for tests to run.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::binaries::target_dir;
use crate::image::program::{Kind, PackageBuild};
use crate::image::{Image, NON_ROOT, Written};

/// Holds the namespaces of a Pod.
pub(crate) const PAUSE_IMAGE: &str = "localhost/evenkeel-pause:e2e";

/// An HTTP server whose readiness can be turned off; see the package `evenkeel-e2e-pod`.
pub const POD_IMAGE: &str = "localhost/evenkeel-pod:e2e";

const PROGRAM: &str = "evenkeel-pod";

/// The program of the images, built into a folder of its own if need be.
pub(crate) fn pod_program() -> Result<PathBuf> {
    PackageBuild {
        root: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        package: "evenkeel-e2e-pod",
        file: PROGRAM,
        target_dir: target_dir().join("e2e").join("pod"),
        kind: Kind::Test,
    }
    .build()
}

/// Writes the image files into a folder.
pub(crate) fn write(pod: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    [(PAUSE_IMAGE, "pause"), (POD_IMAGE, "serve")]
        .into_iter()
        .map(|(name, action)| {
            let out = folder.join(format!("{action}.tar"));
            image(pod, name, action).write(&out)?;
            Ok(out)
        })
        .collect()
}

/// Writes the image [`POD_IMAGE`], for clusters that do not have it from the start.
pub fn write_pod_image(out: &Path) -> Result<Written> {
    image(&pod_program()?, POD_IMAGE, "serve").write(out)
}

fn image(pod: &Path, name: &str, action: &str) -> Image {
    let inside = format!("/{PROGRAM}");
    Image {
        name: name.to_owned(),
        entrypoint: vec![inside.clone(), action.to_owned()],
        user: NON_ROOT.to_owned(),
        files: vec![(pod.to_owned(), inside)],
    }
}
