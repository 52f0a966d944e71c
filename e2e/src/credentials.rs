//! Keys, certificates and tokens of one control plane.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Who a token stands for.
pub(crate) struct Identity {
    pub(crate) user: &'static str,
    pub(crate) group: &'static str,
}

/// May do everything.
pub(crate) const ADMIN: Identity = Identity {
    user: "admin",
    group: "system:masters",
};
/// The built-in controllers; their rights come with the API server.
pub(crate) const CONTROLLER_MANAGER: Identity = Identity {
    user: "system:kube-controller-manager",
    group: "system:authenticated",
};
/// The scheduler; its rights come with the API server.
pub(crate) const SCHEDULER: Identity = Identity {
    user: "system:kube-scheduler",
    group: "system:authenticated",
};

/// Everything secret about one control plane, as files in its folder.
#[derive(Debug)]
pub(crate) struct Credentials {
    folder: PathBuf,
    authority: String,
    tokens: Vec<(&'static str, String)>,
}

impl Credentials {
    /// Makes an authority, a serving certificate for the loopback address, the
    /// key that signs service-account tokens, and a token for each identity.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let key = KeyPair::generate().context("making the authority's key")?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "evenkeel-bed");
        let authority = params.self_signed(&key).context("signing the authority")?.pem();
        let issuer = Issuer::new(params, key);

        let serving_key = KeyPair::generate().context("making the serving key")?;
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
        let mut serving = CertificateParams::new(names).context("naming the API server")?;
        serving
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        serving.use_authority_key_identifier_extension = true;
        let serving = serving
            .signed_by(&serving_key, &issuer)
            .context("signing for the API server")?;

        let account_key = KeyPair::generate().context("making the service-account key")?;
        let tokens = [ADMIN, CONTROLLER_MANAGER, SCHEDULER]
            .into_iter()
            .map(|identity| Ok((identity.user, random_token()?, identity.group)))
            .collect::<Result<Vec<_>>>()?;
        let mut token_file = String::new();
        for (user, token, group) in &tokens {
            writeln!(token_file, "{token},{user},{user},\"{group}\"")?;
        }
        let credentials = Self {
            folder: folder.to_owned(),
            authority,
            tokens: tokens.into_iter().map(|(user, token, _)| (user, token)).collect(),
        };
        credentials.write("ca.crt", &credentials.authority)?;
        credentials.write("serving.crt", &serving.pem())?;
        credentials.write("serving.key", &serving_key.serialize_pem())?;
        credentials.write("accounts.key", &account_key.serialize_pem())?;
        credentials.write("accounts.pub", &account_key.public_key_pem())?;
        credentials.write("tokens.csv", &token_file)?;
        Ok(credentials)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.folder.join(name), text).with_context(|| format!("writing {name}"))
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
                let authority = self.folder.join("ca.crt");
                serde_json::json!({"name": name, "cluster": {"server": url, "certificate-authority": authority}})
            })
            .collect();
        let contexts: Vec<_> = named
            .iter()
            .map(|(name, _)| {
                serde_json::json!({"name": name, "context": {"cluster": name, "user": identity.user}})
            })
            .collect();
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": clusters,
            "contexts": contexts,
            "users": [{"name": identity.user, "user": {"token": token}}],
            "current-context": context_name(0),
        });
        serde_saphyr::to_string(&config).context("writing a kubeconfig")
    }
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
