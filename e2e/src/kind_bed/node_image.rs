//! A node image built here, for machines that can pull none.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::engine::Engine;
use super::run;
use crate::binaries::{Binaries, Program, target_dir};
use crate::go_module::{kind_base, kubernetes_version};
use crate::image::Image;
use crate::node_bed::images;

/// What the root of a node is made of, beside what Debian calls essential.
const DEBIAN: &str = "systemd,systemd-sysv,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,\
    libseccomp2,bash,ca-certificates,curl,jq,procps,containerd,runc,containernetworking-plugins";

/// The release that the machine's own containerd is tested with.
const RELEASE: &str = "bookworm";

/// The programs that are in the node or in its images.
const PROGRAMS: [Program; 9] = [
    Program::Etcd,
    Program::ApiServer,
    Program::ControllerManager,
    Program::Scheduler,
    Program::Proxy,
    Program::Kubectl,
    Program::Kubelet,
    Program::Kubeadm,
    Program::CoreDns,
];

/// What kube-proxy calls, and the kernel's words for its rules.
const PROXY_TOOLS: [&str; 4] = [
    "usr/sbin/xtables-nft-multi",
    "usr/sbin/xtables-legacy-multi",
    "usr/sbin/nft",
    "usr/sbin/conntrack",
];

/// Names under which the first of the tools is called.
const IPTABLES: [&str; 6] = [
    "iptables",
    "iptables-save",
    "iptables-restore",
    "ip6tables",
    "ip6tables-save",
    "ip6tables-restore",
];

/// Builds the image if need be, loads it into an engine, and returns its name.
pub(super) fn load(engine: &Engine) -> Result<String> {
    let version = kubernetes_version()?;
    let name = format!("localhost/evenkeel-kind-node:{version}");
    let archive = build()?.display().to_string();
    engine.docker(&[
        "import",
        "--change",
        r#"ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]"#,
        "--change",
        "ENV container=docker",
        &archive,
        &name,
    ])?;
    Ok(name)
}

/// The root of a node as an archive, kept from one time to the next. Two that build at once wait for each other.
pub(super) fn build() -> Result<PathBuf> {
    let version = kubernetes_version()?;
    let folder = target_dir().join("e2e").join("kind");
    let archive = folder.join(format!("node-{version}.tar"));
    if archive.is_file() {
        return Ok(archive);
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let lock = File::create(folder.join(".lock")).context("making the lock file of the node image")?;
    lock.lock().context("waiting for another node image")?;
    if !archive.is_file() {
        build_into(&folder, &archive, &version)?;
    }
    Ok(archive)
}

fn build_into(folder: &Path, archive: &Path, version: &str) -> Result<()> {
    eprintln!("building a node image for kind; the first time takes minutes");
    let base = folder.join("base");
    if !base.join(".complete").is_file() {
        debootstrap(&base)?;
    }
    let root = folder.join("root");
    // A half-made one may hold a mount of the last attempt.
    if root.exists() {
        drop(
            Command::new("umount")
                .arg(root.join("dev"))
                .stderr(Stdio::null())
                .status(),
        );
        fs::remove_dir_all(&root).context("removing the last attempt")?;
    }
    run(
        Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .arg(&base)
            .arg(&root),
        "cp of the base system",
    )?;
    let binaries = Binaries::find_or_build(&PROGRAMS)?;
    run(
        Command::new("sh")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("kind/node-image.sh"))
            .env("ROOT", &root)
            .env("BASE", kind_base()?)
            .env("VERSION", version)
            .env("KUBELET", binaries.path(Program::Kubelet)?)
            .env("KUBEADM", binaries.path(Program::Kubeadm)?)
            .env("KUBECTL", binaries.path(Program::Kubectl)?),
        "kind/node-image.sh",
    )?;
    write_images(&root, &binaries, version)?;
    let unfinished = archive.with_extension("part");
    run(
        Command::new("tar")
            .arg("-C")
            .arg(&root)
            .args([
                "--exclude=./proc/*",
                "--exclude=./sys/*",
                "--exclude=./dev/*",
                "-cf",
            ])
            .arg(&unfinished)
            .arg("."),
        "tar of the node's root",
    )?;
    fs::rename(&unfinished, archive).context("naming the node's archive")?;
    fs::remove_dir_all(&root).context("removing the node's root")
}

fn debootstrap(base: &Path) -> Result<()> {
    if base.exists() {
        fs::remove_dir_all(base).context("removing an unfinished base system")?;
    }
    fs::create_dir_all(base.parent().unwrap_or(base)).context("making the folder of the base system")?;
    run(
        Command::new("debootstrap")
            .args(["--variant=minbase", &format!("--include={DEBIAN}"), RELEASE])
            .arg(base),
        "debootstrap",
    )?;
    fs::write(base.join(".complete"), "").context("marking the base system as whole")
}

/// The images that kubeadm will ask for, into the node.
fn write_images(root: &Path, binaries: &Binaries, version: &str) -> Result<()> {
    let kubeadm = binaries.path(Program::Kubeadm)?;
    let list = run(
        Command::new(kubeadm).args(["config", "images", "list", "--kubernetes-version", version]),
        "kubeadm config images list",
    )?;
    for name in list.lines() {
        let short = name.rsplit('/').next().and_then(|last| last.split(':').next());
        let short = short.unwrap_or_default();
        let (program, place) = match short {
            "kube-apiserver" => (Program::ApiServer, "control"),
            "kube-controller-manager" => (Program::ControllerManager, "control"),
            "kube-scheduler" => (Program::Scheduler, "control"),
            "etcd" => (Program::Etcd, "control"),
            "kube-proxy" => (Program::Proxy, "every"),
            "coredns" => (Program::CoreDns, "every"),
            "pause" => {
                pause(name)?.write(&root.join("kind/images/every-0-pause.tar"))?;
                continue;
            }
            _ => bail!("kubeadm asks for {name}, which the bed cannot build"),
        };
        let path = binaries.path(program)?;
        // Where manifests of kubeadm expect it: by name in PATH, or as the image's own command.
        let inside = match program {
            Program::CoreDns => "/coredns".to_owned(),
            _ => format!("/usr/local/bin/{}", program.file_name()),
        };
        let mut files = vec![(path.to_owned(), inside.clone())];
        if program == Program::Proxy {
            files.extend(proxy_files(root)?);
        }
        let image = Image {
            name: name.to_owned(),
            entrypoint: vec![inside],
            user: String::new(),
            files,
        };
        image.write(&root.join(format!("kind/images/{place}-{short}.tar")))?;
    }
    Ok(())
}

fn pause(name: &str) -> Result<Image> {
    Ok(Image {
        name: name.to_owned(),
        entrypoint: vec!["/pause".into(), "pause".into()],
        user: "65535:65535".into(),
        files: vec![(images::pod_program()?, "/pause".into())],
    })
}

/// The tools that kube-proxy calls, with the libraries that they load, from the node's root.
fn proxy_files(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut wanted: Vec<String> = PROXY_TOOLS.map(|tool| format!("/{tool}")).into();
    let extensions = format!("usr/lib/{}-linux-gnu/xtables", std::env::consts::ARCH);
    for entry in fs::read_dir(root.join(&extensions)).context("listing the extensions of iptables")? {
        wanted.push(format!("/{extensions}/{}", entry?.file_name().to_string_lossy()));
    }
    let mut inside = std::collections::BTreeSet::new();
    for file in &wanted {
        let needed = run(
            Command::new("chroot").arg(root).args(["ldd", file]),
            &format!("ldd of {file}"),
        )?;
        inside.extend(
            needed
                .split_whitespace()
                .filter(|word| word.starts_with('/') && word.contains(".so"))
                .map(str::to_owned),
        );
    }
    inside.extend(wanted);
    let mut files: Vec<_> = inside
        .into_iter()
        .map(|path| (resolve(root, &path), path))
        .collect();
    let tool = root.join(PROXY_TOOLS[0]);
    files.extend(IPTABLES.map(|name| (tool.clone(), format!("/usr/sbin/{name}"))));
    Ok(files)
}

/// The file behind links that are meant from inside of a root.
fn resolve(root: &Path, path: &str) -> PathBuf {
    let mut file = root.join(path.trim_start_matches('/'));
    for _ in 0..8 {
        match fs::read_link(&file) {
            Ok(link) if link.is_absolute() => file = root.join(link.strip_prefix("/").unwrap_or(&link)),
            Ok(link) => file = file.parent().unwrap_or(root).join(link),
            Err(_) => break,
        }
    }
    file
}
