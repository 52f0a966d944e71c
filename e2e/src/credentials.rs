//! Keys, certificates and tokens of one control plane.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The file with the authority's certificate.
const AUTHORITY: &str = "ca.crt";

/// Who a token stands for.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) user: Cow<'static, str>,
    pub(crate) group: &'static str,
}

/// Whom the API server knows beside the programs of every control plane, and by
/// what names it is known beside those of the loopback address.
#[derive(Debug, Default)]
pub(crate) struct ServerAccess {
    pub(crate) names: Vec<String>,
    /// Addresses of API servers that have a certificate of their own.
    pub(crate) instances: Vec<Ipv4Addr>,
    pub(crate) identities: Vec<Identity>,
}

/// May do everything.
pub(crate) const ADMIN: Identity = Identity {
    user: Cow::Borrowed("admin"),
    group: "system:masters",
};
/// The built-in controllers; their rights come with the API server.
pub(crate) const CONTROLLER_MANAGER: Identity = Identity {
    user: Cow::Borrowed("system:kube-controller-manager"),
    group: "system:authenticated",
};
/// The scheduler; its rights come with the API server.
pub(crate) const SCHEDULER: Identity = Identity {
    user: Cow::Borrowed("system:kube-scheduler"),
    group: "system:authenticated",
};

/// The data plane of Services; its rights come with the API server.
pub(crate) const PROXY: Identity = Identity {
    user: Cow::Borrowed("system:kube-proxy"),
    group: "system:authenticated",
};

/// The kubelet of a node, which may touch what belongs to that node only.
pub(crate) fn kubelet(node: &str) -> Identity {
    Identity {
        user: Cow::Owned(format!("system:node:{node}")),
        group: "system:nodes",
    }
}

/// Everything secret about one control plane, as files in its folder.
#[derive(Debug)]
pub(crate) struct Credentials {
    folder: PathBuf,
    tokens: Vec<(Cow<'static, str>, String)>,
}

impl Credentials {
    /// Makes an authority, a serving certificate, the certificate with which the
    /// API server reads from kubelets, the key that signs service-account tokens,
    /// and a token for each identity.
    pub(crate) fn make(folder: &Path, access: &ServerAccess) -> Result<Self> {
        certify(folder, &access.names, &access.instances)?;
        let account_key = KeyPair::generate().context("making the service-account key")?;
        let tokens = [ADMIN, CONTROLLER_MANAGER, SCHEDULER]
            .iter()
            .chain(&access.identities)
            .map(|identity| Ok((identity.user.clone(), random_token()?, identity.group)))
            .collect::<Result<Vec<_>>>()?;
        let mut token_file = String::new();
        for (user, token, group) in &tokens {
            writeln!(token_file, "{token},{user},{user},\"{group}\"")?;
        }
        let credentials = Self {
            folder: folder.to_owned(),
            tokens: tokens.into_iter().map(|(user, token, _)| (user, token)).collect(),
        };
        write(folder, "accounts.key", &account_key.serialize_pem())?;
        write(folder, "accounts.pub", &account_key.public_key_pem())?;
        write(folder, "tokens.csv", &token_file)?;
        Ok(credentials)
    }

    /// A kubeconfig with one context for each server, the first one current.
    pub(crate) fn kubeconfig(&self, identity: &Identity, servers: &[String]) -> Result<String> {
        let token = self
            .tokens
            .iter()
            .find(|(user, _)| *user == identity.user)
            .map(|(_, token)| token)
            .with_context(|| format!("{} has no token", identity.user))?;
        let named: Vec<_> = servers
            .iter()
            .enumerate()
            .map(|(index, url)| (context_name(index), url))
            .collect();
        let clusters: Vec<_> = named
            .iter()
            .map(|(name, url)| {
                let authority = self.folder.join(AUTHORITY);
                serde_json::json!({"name": name, "cluster": {"server": url, "certificate-authority": authority}})
            })
            .collect();
        let contexts: Vec<_> = named
            .iter()
            .map(|(name, _)| {
                serde_json::json!({"name": name, "context": {"cluster": name, "user": &identity.user}})
            })
            .collect();
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": clusters,
            "contexts": contexts,
            "users": [{"name": &identity.user, "user": {"token": token}}],
            "current-context": context_name(0),
        });
        serde_saphyr::to_string(&config).context("writing a kubeconfig")
    }
}

/// Makes an authority, and what it signs: the serving certificate, for these names beside those of the loopback
/// address, one for each instance with an address of its own (`<address>.crt`), and the certificate with which the API
/// server reads from kubelets. What was there is replaced.
pub(crate) fn certify(folder: &Path, names: &[String], instances: &[Ipv4Addr]) -> Result<()> {
    let key = KeyPair::generate().context("making the authority's key")?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "evenkeel-bed");
    let authority = params.self_signed(&key).context("signing the authority")?.pem();
    let issuer = Issuer::new(params, key);
    let (serving, serving_key) = serving_certificate(&issuer, names)?;
    for instance in instances {
        let (own, own_key) = serving_certificate(&issuer, &[instance.to_string()])?;
        write(folder, &format!("{instance}.crt"), &own)?;
        write(folder, &format!("{instance}.key"), &own_key)?;
    }
    let (kubelet_client, kubelet_client_key) = kubelet_client_certificate(&issuer)?;
    write(folder, AUTHORITY, &authority)?;
    write(folder, "serving.crt", &serving)?;
    write(folder, "serving.key", &serving_key)?;
    write(folder, "kubelet-client.crt", &kubelet_client)?;
    write(folder, "kubelet-client.key", &kubelet_client_key)
}

/// The authority's certificate, in PEM.
pub(crate) fn authority(folder: &Path) -> Result<String> {
    fs::read_to_string(folder.join(AUTHORITY)).context("reading the authority's certificate")
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(folder.join(name), text).with_context(|| format!("writing {name}"))
}

/// The API server's own certificate and key.
fn serving_certificate(issuer: &Issuer<'_, KeyPair>, more_names: &[String]) -> Result<(String, String)> {
    let key = KeyPair::generate().context("making the serving key")?;
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
    let names: Vec<_> = names.into_iter().chain(more_names.iter().cloned()).collect();
    let mut params = CertificateParams::new(names).context("naming the API server")?;
    params
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    params.use_authority_key_identifier_extension = true;
    let certificate = params
        .signed_by(&key, issuer)
        .context("signing for the API server")?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// What the API server shows to kubelets when it fetches logs or numbers. Its
/// group may do everything, so that no binding has to exist first.
fn kubelet_client_certificate(issuer: &Issuer<'_, KeyPair>) -> Result<(String, String)> {
    let key = KeyPair::generate().context("making the key for kubelets")?;
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver-kubelet-client");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params
        .signed_by(&key, issuer)
        .context("signing for the API server's way to kubelets")?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// The kubeconfig context of the API server with this index.
pub(crate) fn context_name(index: usize) -> String {
    format!("api-{index}")
}

fn random_token() -> Result<String> {
    let mut bytes = [0u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("reading random bytes")?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
