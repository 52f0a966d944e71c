//! What is taken out of the fields that are kept, where people put more into them than checks read: command lines,
//! volumes, data of `ConfigMaps`, arguments in annotations.

use evenkeel_core::dataplane::controller_manager::{GRACE_FLAG as GRACE, flag, is_handed_on};
use evenkeel_core::dataplane::{antrea, cilium, terway};
use evenkeel_core::know::Source;
use evenkeel_core::sources::config_map::keeps_key;
use evenkeel_core::sources::node::cut_provider;
use evenkeel_core::sources::sysctl;
use evenkeel_core::sources::workload::{keeps_container, keeps_variable};
use serde_json::{Map, Value};

use super::mask::masked;

/// Trims an object of this source.
pub(super) fn trim(source: Source, object: &mut Value) {
    match source {
        Source::Nodes => node(object),
        Source::Pods => pod_spec(object, "/spec"),
        Source::DaemonSets | Source::Deployments => pod_spec(object, "/spec/template/spec"),
        Source::ConfigMaps => config_map(object),
        Source::CiliumNodeConfigs => {
            if let Some(Value::Object(defaults)) = object.pointer_mut("/spec/defaults") {
                defaults.retain(|key, _| cilium::KEYS.contains(&key.as_str()));
            }
        }
        _ => {}
    }
}

fn node(object: &mut Value) {
    if let Some(Value::String(id)) = object.pointer_mut("/spec/providerID") {
        *id = cut_provider(id).to_owned();
    }
    if let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") {
        annotations.retain(|key, _| {
            key.strip_prefix("config.cilium.io/")
                .is_none_or(|key| cilium::KEYS.contains(&key))
        });
        for (key, value) in annotations {
            if let (true, Value::String(text)) = (key.ends_with("/node-args"), value) {
                *text = node_args(text);
            }
        }
    }
}

/// Of the arguments of k3s or RKE2 those that concern kube-proxy, and how long a node may be silent: others are tokens
/// and data stores. What is no list of texts becomes nothing, which is none either.
fn node_args(text: &str) -> String {
    let Ok(args) = serde_json::from_str::<Vec<String>>(text) else {
        return String::new();
    };
    // Whether it is a server or an agent: agents follow their server.
    let role = args
        .first()
        .filter(|first| matches!(first.as_str(), "server" | "agent"));
    let mut kept: Vec<String> = role.cloned().into_iter().collect();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let flag = arg.trim_start_matches('-').to_owned();
        let (name, entry) = flag
            .split_once('=')
            .map_or((&*flag, None), |(name, entry)| (name, Some(entry)));
        let (of_proxy, of_manager) = (name == "kube-proxy-arg", is_handed_on(name));
        if !arg.starts_with('-') || !(of_proxy || of_manager || name == "disable-kube-proxy") {
            continue;
        }
        let apart = if entry.is_none() && (of_proxy || of_manager) {
            args.next()
        } else {
            None
        };
        // The manager has flags that name files of keys, and one that matters here.
        let told = entry.or(apart.as_deref()).unwrap_or_default();
        if of_manager && !told.trim_start_matches('-').starts_with(GRACE) {
            continue;
        }
        kept.push(arg);
        kept.extend(apart);
    }
    Value::from(kept).to_string()
}

fn pod_spec(object: &mut Value, at: &str) {
    let Some(Value::Object(spec)) = object.pointer_mut(at) else {
        return;
    };
    for list in ["containers", "initContainers"] {
        if let Some(Value::Array(containers)) = spec.get_mut(list) {
            containers.retain_mut(container);
        }
    }
    if let Some(Value::Array(volumes)) = spec.get_mut("volumes") {
        volumes.retain(|volume| volume.get("configMap").is_some());
    }
}

/// Trims a container; returns whether anything of it is kept.
fn container(container: &mut Value) -> bool {
    let Value::Object(fields) = container else {
        return true;
    };
    let text = |fields: &Map<String, Value>, key: &str| {
        let text = fields.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let (name, image) = (text(fields, "name"), text(fields, "image"));
    let parts = [fields.remove("command"), fields.remove("args")];
    let argv: Vec<String> = parts
        .into_iter()
        .flatten()
        .filter_map(|part| match part {
            Value::Array(words) => Some(words),
            _ => None,
        })
        .flatten()
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect();
    let started = fields.remove("lifecycle");
    if !keeps_container(&name, &image, argv.iter().map(String::as_str)) {
        return only_sysctls(fields, &name, &image, argv, started.as_ref());
    }
    if let Some(Value::Array(env)) = fields.get_mut("env") {
        env.retain_mut(|one| variable(one, &argv));
    }
    let command = command(&name, &image, argv);
    if !command.is_empty() {
        fields.insert("command".into(), command.into());
    }
    true
}

/// Leaves of a container nothing but the sysctls that it sets; returns whether there are any.
fn only_sysctls(
    fields: &mut Map<String, Value>,
    name: &str,
    image: &str,
    mut argv: Vec<String>,
    started: Option<&Value>,
) -> bool {
    let started = started.and_then(|value| value.pointer("/postStart/exec/command")?.as_array());
    argv.extend(
        started
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(str::to_owned)),
    );
    let set = sysctl::set_by(name, image, argv.iter().map(String::as_str));
    if set.is_empty() {
        return false;
    }
    fields.retain(|key, _| key == "name");
    let settings = set.into_iter().filter(|(name, _)| name != sysctl::ANY);
    let settings = settings.map(|(name, value)| format!("{name}={value}"));
    let command: Vec<String> = std::iter::once("sysctl".to_owned()).chain(settings).collect();
    fields.insert("command".into(), command.into());
    true
}

/// Trims a variable; returns whether it is kept. The value of one that sounds like a secret is taken out.
fn variable(variable: &mut Value, argv: &[String]) -> bool {
    let text = |field: &str| {
        variable
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (name, value) = (text("name"), text("value"));
    if !keeps_variable(&name, argv.iter().map(String::as_str)) {
        return false;
    }
    let flag = [format!("--{name}={value}")];
    if masked(&flag) != flag
        && let Value::Object(fields) = variable
    {
        fields.insert("valueFrom".into(), Map::new().into());
        fields.remove("value");
    }
    true
}

/// The part of a command line that checks read: all of kube-proxy's but what looks like a secret, single flags of
/// some other programs, and nothing else.
fn command(name: &str, image: &str, argv: Vec<String>) -> Vec<String> {
    let base = |word: &str, program: &str| word.rsplit('/').next() == Some(program);
    let runs = |program: &str| {
        let named = |word: &String| word.split_ascii_whitespace().any(|word| base(word, program));
        name == program || argv.iter().any(named)
    };
    let image = image.rsplit('/').next().unwrap_or_default();
    if image.starts_with("kube-proxy") || runs("kube-proxy") {
        masked(&argv)
    } else if runs("kube-controller-manager") {
        manager(&argv)
    } else if runs("kube-apiserver") {
        flags(vec!["kube-apiserver".to_owned()], argv, &["etcd-servers"])
    } else if runs("kube-router") {
        let wanted = ["run-service-proxy", "service-tcp-timeout", "service-udp-timeout"];
        flags(vec!["kube-router".to_owned()], argv, &wanted)
    } else if runs("kube-ovn-controller") {
        flags(vec!["kube-ovn-controller".to_owned()], argv, &["enable-lb"])
    } else if argv.iter().any(|word| word.contains("build-config")) {
        let program = vec!["cilium".to_owned(), "build-config".to_owned()];
        flags(
            program,
            argv,
            &["source", "allow-config-keys", "deny-config-keys"],
        )
    } else {
        Vec::new()
    }
}

/// The controller manager with the one flag that matters. What only the node knows stays unknown.
fn manager(argv: &[String]) -> Vec<String> {
    let program = "kube-controller-manager".to_owned();
    match flag(argv, GRACE) {
        Ok(None) => vec![program],
        Ok(Some(value)) => vec![program, format!("--{GRACE}={value}")],
        Err(_) => vec![program, format!("--{GRACE}=$(REMOVED)")],
    }
}

/// A program with those of its flags that are wanted, each with its value.
fn flags(mut program: Vec<String>, argv: Vec<String>, wanted: &[&str]) -> Vec<String> {
    let mut words = argv.into_iter();
    while let Some(word) = words.next() {
        let flag = word.trim_start_matches('-');
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        if !word.starts_with('-') || !wanted.contains(&name) {
            continue;
        }
        let has_value = name == flag;
        program.push(word);
        program.extend(has_value.then(|| words.next()).flatten());
    }
    program
}

/// Words of which a kube-proxy configuration has at least one, even where it names no kind.
const PROXY_WORDS: [&str; 7] = [
    "kubeproxy.config.k8s.io",
    "KubeProxyConfiguration",
    "clientConnection",
    "conntrack",
    "ipvs",
    "iptables",
    "nftables",
];

/// Words of files that hold keys and tokens.
const KEY_WORDS: [&str; 3] = ["current-context", "client-key-data", "PRIVATE KEY"];

fn config_map(object: &mut Value) {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    let name = name.unwrap_or_default().to_owned();
    let Some(Value::Object(data)) = object.pointer_mut("/data") else {
        return;
    };
    if name.starts_with("antrea-config") {
        for text in data.values_mut() {
            *text = text.as_str().map(antrea::reduced).unwrap_or_default().into();
        }
    }
    data.retain(|key, text| {
        let text = text.as_str().unwrap_or_default();
        match name.as_str() {
            "cilium-config" => cilium::KEYS.contains(&key.as_str()),
            name if name.starts_with("antrea-config") => key == antrea::KEY,
            // Its neighbours hold the keys of the cloud's account.
            "eni-config" => key == terway::CNI_KEY,
            name => {
                keeps_key(name, key, text)
                    // One without text is none that kube-proxy starts with.
                    && (text.is_empty() || PROXY_WORDS.iter().any(|word| text.contains(word)))
                    && !KEY_WORDS.iter().any(|word| text.contains(word))
            }
        }
    });
}
