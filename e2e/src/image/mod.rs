//! Container images as files, written without a container engine.
//!
//! What is written is an OCI layout in a tar archive that also carries the
//! `manifest.json` of `docker save`: containerd, Docker, Podman and
//! `kind load image-archive` all take it. The same input gives the same bytes on
//! every machine: entries are in a fixed order, with one time, one owner and no
//! compression.

mod archive;
pub mod program;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use archive::Archive;

/// The user and group that images run as unless they say otherwise: the number
/// that distroless images call `nonroot`, so that people recognise it.
pub const NON_ROOT: &str = "65532:65532";

/// The time of every file and of the image itself, in seconds since 1970, unless
/// `SOURCE_DATE_EPOCH` names another (reproducible-builds.org).
const DEFAULT_EPOCH: u64 = 0;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image of one layer.
#[derive(Clone, Debug)]
pub struct Image {
    /// Repository and tag, such as `localhost/evenkeel:dev`.
    pub name: String,
    /// The command and its fixed arguments.
    pub entrypoint: Vec<String>,
    /// Numbers of user and group, so that a kubelet can tell that it is not root.
    pub user: String,
    /// The executable files: where each is now, and its path inside.
    pub files: Vec<(PathBuf, String)>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file's size, in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub file: String,
    /// The image's digest, by which registries and nodes know it: that of its manifest.
    pub digest: String,
}

impl Image {
    /// An image of one program, which is its entrypoint.
    pub fn of_program(name: &str, program: &Path) -> Result<Self> {
        let file = program
            .file_name()
            .and_then(|file| file.to_str())
            .with_context(|| format!("{} has no file name", program.display()))?;
        let inside = format!("/{file}");
        Ok(Self {
            name: name.to_owned(),
            entrypoint: vec![inside.clone()],
            user: NON_ROOT.to_owned(),
            files: vec![(program.to_owned(), inside)],
        })
    }

    /// Writes the archive to `out`, replacing what is there.
    pub fn write(&self, out: &Path) -> Result<Written> {
        let epoch = epoch()?;
        let mut layer = Archive::new(epoch);
        let mut files = self.files.clone();
        files.sort_by(|a, b| a.1.cmp(&b.1));
        for (source, target) in &files {
            let bytes = fs::read(source).with_context(|| format!("reading {}", source.display()))?;
            layer.program(target.trim_start_matches('/'), &bytes)?;
        }
        let (text, digest) = self.archive(layer.finish()?, epoch)?;
        if let Some(folder) = out.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::write(out, &text).with_context(|| format!("writing {}", out.display()))?;
        Ok(Written {
            bytes: text.len() as u64,
            file: sha256(&text),
            digest,
        })
    }

    /// The whole archive around one layer, and the digest of its manifest.
    fn archive(&self, layer: Vec<u8>, epoch: u64) -> Result<(Vec<u8>, String)> {
        let layer = Blob::new(layer);
        let config = Blob::new(serde_json::to_vec(&self.config(&layer.hash, epoch)?)?);
        let manifest = Blob::new(serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG),
            "layers": [layer.descriptor(LAYER)],
        }))?);
        let mut listed = manifest.descriptor(MANIFEST);
        listed["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": self.name.rsplit(':').next(),
        });
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed]});
        let docker = json!([{
            "Config": config.path(),
            "RepoTags": [self.name],
            "Layers": [layer.path()],
        }]);
        let digest = format!("sha256:{}", manifest.hash);
        let mut archive = Archive::new(epoch);
        let mut blobs = [config, layer, manifest];
        blobs.sort_by(|a, b| a.hash.cmp(&b.hash));
        for blob in &blobs {
            archive.file(&blob.path(), &blob.bytes)?;
        }
        archive.file("index.json", &serde_json::to_vec(&index)?)?;
        archive.file("manifest.json", &serde_json::to_vec(&docker)?)?;
        archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok((archive.finish()?, digest))
    }

    fn config(&self, layer: &str, epoch: u64) -> Result<Value> {
        let created = k8s_openapi::jiff::Timestamp::from_second(i64::try_from(epoch)?)?.to_string();
        Ok(json!({
            "architecture": architecture(),
            "os": "linux",
            "created": created,
            "config": {"Entrypoint": self.entrypoint, "User": self.user, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
            "history": [{"created": created, "created_by": "evenkeel-image"}],
        }))
    }
}

/// The image of the operator, by its default name.
pub const OPERATOR: &str = concat!("localhost/evenkeel:", env!("CARGO_PKG_VERSION"));

/// The file that `make image` writes.
pub fn operator_archive() -> Result<PathBuf> {
    let archive = crate::binaries::target_dir().join("image/evenkeel.tar");
    if !archive.is_file() {
        bail!("{} is not there; build it with: make image", archive.display());
    }
    Ok(archive)
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Bytes that are known by their hash.
struct Blob {
    bytes: Vec<u8>,
    hash: String,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        let hash = sha256(&bytes);
        Self { bytes, hash }
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.hash)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", self.hash), "size": self.bytes.len()})
    }
}

/// The machine's architecture in Go's words, which image configurations use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn epoch() -> Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is {text:?}, not a number of seconds")),
        Err(_) => Ok(DEFAULT_EPOCH),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    fn image(folder: &Path) -> Image {
        let program = folder.join("tool");
        fs::write(&program, b"a program").unwrap();
        Image::of_program("localhost/tool:1", &program).unwrap()
    }

    fn entries(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut entries = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            entries.insert(path, bytes);
        }
        entries
    }

    #[test]
    fn two_writes_give_the_same_bytes_from_files_of_different_age_and_place() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = image(one.path()).write(&one.path().join("a.tar")).unwrap();
        let second = image(two.path()).write(&two.path().join("deep/b.tar")).unwrap();
        assert_eq!(first, second);
        fs::write(two.path().join("tool"), b"another program").unwrap();
        let third = image_of(two.path()).write(&two.path().join("c.tar")).unwrap();
        assert_ne!(first.digest, third.digest);
    }

    fn image_of(folder: &Path) -> Image {
        Image::of_program("localhost/tool:1", &folder.join("tool")).unwrap()
    }

    #[test]
    fn every_reference_leads_to_a_blob_of_that_hash() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("image.tar");
        let written = image(folder.path()).write(&out).unwrap();
        let bytes = fs::read(&out).unwrap();
        assert_eq!(
            (written.bytes, written.file),
            (bytes.len() as u64, sha256(&bytes))
        );
        let entries = entries(&bytes);
        for (path, bytes) in entries.iter().filter(|(path, _)| path.starts_with("blobs/")) {
            assert_eq!(*path, format!("blobs/sha256/{}", sha256(bytes)));
        }
        let parse = |path: &str| serde_json::from_slice::<Value>(&entries[path]).unwrap();
        let digest = |value: &Value| value.as_str().unwrap().replacen("sha256:", "blobs/sha256/", 1);
        let index = parse("index.json");
        assert_eq!(index["manifests"][0]["digest"], written.digest);
        let manifest = parse(&digest(&index["manifests"][0]["digest"]));
        let docker = parse("manifest.json");
        let layer = digest(&manifest["layers"][0]["digest"]);
        assert_eq!(docker[0]["Layers"][0], layer);
        assert_eq!(docker[0]["Config"], digest(&manifest["config"]["digest"]));
        let config = parse(&digest(&manifest["config"]["digest"]));
        assert_eq!(config["config"]["User"], NON_ROOT);
        assert_eq!(digest(&config["rootfs"]["diff_ids"][0]), layer);
        assert_eq!(self::entries(&entries[&layer])["tool"], b"a program");
    }
}
