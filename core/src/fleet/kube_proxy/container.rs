//! Which container is kube-proxy, and which ConfigMap its `--config` reads: one rule for all who ask.

use std::sync::Arc;

use crate::know::{Gap, Known};
use crate::names::{Key, Names};
use crate::sources::workload::{Container, Template};

/// Whether this container is kube-proxy.
///
/// By its name, which distributions keep where they wrap the program in a script of their own; else by the program it
/// runs, wherever that stands in its command (`sh -c "exec kube-proxy ..."`, `hyperkube kube-proxy`); else, where it
/// has no command but only arguments, by its image. An argument that merely names kube-proxy is none: a file below
/// `--root=/var/lib/kube-proxy`, a flag of Cilium, a DaemonSet that kubectl restarts. Nor is the image alone enough
/// where there is a command: init containers prepare a node from it.
pub fn is_kube_proxy(names: &Names, container: &Container) -> bool {
    if names.text(container.name) == "kube-proxy" {
        return true;
    }
    let argv = &container.argv;
    if argv.first().is_none_or(|first| first.starts_with('-')) {
        return is_image(names.text(container.image));
    }
    let mut words = argv.iter().flat_map(|word| word.split_ascii_whitespace());
    words.next().is_none_or(|first| program(first) != "kubectl")
        && argv
            .iter()
            .flat_map(|word| word.split_ascii_whitespace())
            .any(|word| matches!(program(word), "kube-proxy" | "kube-proxy.exe"))
}

/// The last part of a path; empty for a flag or an assignment.
fn program(word: &str) -> &str {
    if word.starts_with('-') || word.contains('=') {
        return "";
    }
    word.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// Whether an image is kube-proxy's: `registry/path/kube-proxy:tag`, or of one architecture, `kube-proxy-amd64`.
fn is_image(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    let name = last.split([':', '@']).next().unwrap_or_default();
    matches!(
        name.strip_prefix("kube-proxy"),
        Some("" | "-amd64" | "-arm64" | "-arm" | "-ppc64le" | "-s390x")
    )
}

/// The container of a template that is kube-proxy.
pub(super) fn container_of<'a>(names: &Names, template: &'a Template) -> Option<&'a Container> {
    template.containers.iter().find(|one| is_kube_proxy(names, one))
}

/// The ConfigMap and key behind a path in a container of this owner (kind and key).
pub fn config_map_of(
    names: &Names,
    owner: (&str, Key),
    template: &Template,
    container: &Container,
    path: &str,
) -> Known<(Key, Arc<str>)> {
    let opaque = |why: &str| {
        let (namespace, name) = (names.text(owner.1.namespace), names.text(owner.1.name));
        Gap::Opaque(format!("{} {namespace}/{name}: --config {path} {why}", owner.0).into())
    };
    // Empty where the file itself is mounted, as with subPath.
    let below = |mount: &str| match path.strip_prefix(mount.trim_end_matches('/'))? {
        "" => Some(String::new()),
        rest => rest.strip_prefix('/').map(str::to_owned),
    };
    let (volume, file) = container
        .mounts
        .iter()
        .filter_map(|(mount, volume)| Some((mount.len(), *volume, below(mount)?)))
        .max_by_key(|found| found.0)
        .map(|(_, volume, file)| (volume, file))
        .ok_or_else(|| opaque("lies in no volume: it is a file of the node"))?;
    let volume = template
        .volumes
        .iter()
        .find(|one| one.name == volume)
        .ok_or_else(|| opaque("lies in a volume that is no ConfigMap"))?;
    let key = match (&*volume.items, file.as_str()) {
        ([(key, _)], "") => key.clone(),
        (_, "") => path.rsplit('/').next().unwrap_or_default().into(),
        (items, file) => items
            .iter()
            .find(|(_, path)| **path == *file)
            .map_or_else(|| file.into(), |item| item.0.clone()),
    };
    Ok((
        Key {
            namespace: owner.1.namespace,
            name: volume.config_map,
        },
        key,
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::names::Name;
    use crate::sources::workload::ConfigVolume;

    fn container(names: &mut Names, name: &str, image: &str, argv: &[&str]) -> Container {
        Container {
            name: names.intern(name),
            image: names.intern(image),
            argv: argv.iter().map(|word| (*word).into()).collect(),
            mounts: Box::default(),
            memory_limit: Name::EMPTY,
            env: Box::default(),
        }
    }

    #[rstest]
    #[case::kubeadm("kube-proxy", "r/kube-proxy:v1.33.1", &["/usr/local/bin/kube-proxy", "--config=/x"], true)]
    #[case::another_name("proxy", "r/hyperkube:v1", &["hyperkube", "kube-proxy", "--v=2"], true)]
    #[case::shell("p", "r/node:1", &["/bin/sh", "-c", "set -e\nexec kube-proxy --config=/x 2>&1"], true)]
    #[case::windows("p", "r/x:1", &["C:\\k\\kube-proxy.exe", "--v=4"], true)]
    #[case::script("kube-proxy", "r/x:1", &["/scripts/start.sh"], true)]
    #[case::arguments_only("p", "r/kube-proxy:v1", &["--config=/x"], true)]
    #[case::nothing_said("p", "r/kube-proxy-arm64@sha256:0", &[], true)]
    #[case::registry_port("p", "host:5000/kube-proxy", &[], true)]
    #[case::exporter("exporter", "r/kube-proxy-exporter:1", &["--listen=:1"], false)]
    #[case::init_container("bootstrap", "r/kube-proxy:v1", &["/bin/sh", "-c", "sysctl -w a=1"], false)]
    #[case::a_file("tool", "r/tool:1", &["tool", "--root=/var/lib/kube-proxy"], false)]
    #[case::cilium("cilium-agent", "r/cilium:1", &["cilium-agent", "--kube-proxy-replacement=true"], false)]
    #[case::restarter("job", "r/kubectl:1", &["kubectl", "rollout", "restart", "ds", "kube-proxy"], false)]
    #[case::another_proxy("kube-rbac-proxy", "r/kube-rbac-proxy:1", &["--upstream=x"], false)]
    fn one_rule(#[case] name: &str, #[case] image: &str, #[case] argv: &[&str], #[case] expected: bool) {
        let mut names = Names::default();
        let container = container(&mut names, name, image, argv);
        assert_eq!(is_kube_proxy(&names, &container), expected);
    }

    #[rstest]
    #[case::below("/var/lib/kube-proxy", &[], "/var/lib/kube-proxy/config.conf", Some("config.conf"))]
    #[case::trailing_slash("/var/lib/kube-proxy/", &[], "/var/lib/kube-proxy/config.conf", Some("config.conf"))]
    #[case::renamed("/etc/k", &[("kube-proxy-config", "c.yaml")], "/etc/k/c.yaml", Some("kube-proxy-config"))]
    #[case::the_file_itself("/etc/k/c.yaml", &[], "/etc/k/c.yaml", Some("c.yaml"))]
    #[case::the_file_itself_renamed("/etc/k/c.yaml", &[("conf", "c.yaml")], "/etc/k/c.yaml", Some("conf"))]
    #[case::a_longer_name("/etc/k", &[], "/etc/kube/c.yaml", None)]
    #[case::elsewhere("/etc/k", &[], "/c.yaml", None)]
    fn behind_a_path(
        #[case] mount: &str,
        #[case] items: &[(&str, &str)],
        #[case] path: &str,
        #[case] expected: Option<&str>,
    ) {
        let mut names = Names::default();
        let volume = names.intern("config");
        let mut container = container(&mut names, "kube-proxy", "", &[]);
        container.mounts = Box::new([("/".into(), names.intern("root")), (mount.into(), volume)]);
        let template = Template {
            volumes: Box::new([ConfigVolume {
                name: volume,
                config_map: names.intern("kube-proxy"),
                items: items
                    .iter()
                    .map(|(key, path)| ((*key).into(), (*path).into()))
                    .collect(),
            }]),
            ..Template::default()
        };
        let owner = ("DaemonSet", Key::default());
        let found = config_map_of(&names, owner, &template, &container, path).ok();
        assert_eq!(found.map(|(_, key)| key.to_string()).as_deref(), expected);
    }
}
