//! Accounts with few rights, to see what evenkeel does without the others.

use anyhow::{Context, Result};
use evenkeel::watch::RIGHTS;
use kube::Client;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{ControlPlane, client_of};

/// The name of the account of a namespace, as the API server writes it.
pub fn user_of(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:reader")
}

fn rules(granted: impl Fn(&str) -> bool) -> Vec<Value> {
    let read = RIGHTS
        .iter()
        .filter(|right| right.resource != "events" && granted(right.resource));
    read.map(
        |right| json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": ["get", "list"]}),
    )
    .collect()
}

const RBAC: &str = "rbac.authorization.k8s.io";

impl ControlPlane {
    /// A kubeconfig of an account that may read everything evenkeel reads, but for some resources.
    pub async fn reader(&self, namespace: &str, without: &[&str]) -> Result<NamedTempFile> {
        let rules = rules(|resource| !without.contains(&resource));
        self.account(namespace, "reader", &rules).await
    }

    /// A kubeconfig of a new account with these rights (rules of a `ClusterRole`) in the whole cluster.
    pub async fn account(&self, namespace: &str, account: &str, rules: &[Value]) -> Result<NamedTempFile> {
        let name = format!("{account}-of-{namespace}");
        self.apply_json(&[
            json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}),
            json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]}),
        ])
        .await?;
        self.kubeconfig_of(namespace, account).await
    }

    /// A kubeconfig of an account that may read some resources of its own namespace, and nothing else.
    pub async fn tenant(&self, namespace: &str, resources: &[&str]) -> Result<NamedTempFile> {
        let rules = rules(|resource| resources.contains(&resource));
        self.apply_json(&[
            json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": {"name": "reader", "namespace": namespace}, "rules": rules}),
            json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": {"name": "reader", "namespace": namespace},
                "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "reader"},
                "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}]}),
        ])
        .await?;
        self.kubeconfig_of(namespace, "reader").await
    }

    /// A client of an account with the rights that a team usually has in its namespace, and none elsewhere: the roles
    /// `edit` and `view` that Kubernetes brings, and every right to policies. `legacy` adds the right to write
    /// EndpointSlices, which `edit` had before Kubernetes 1.22, and keeps in clusters that were upgraded.
    pub async fn editor(&self, namespace: &str, legacy: bool) -> Result<Client> {
        let bound = |name: &str, kind: &str| {
            json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding",
                "metadata": {"name": format!("team-{name}"), "namespace": namespace},
                "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": "team", "namespace": namespace}]})
        };
        let mut rules = vec![
            json!({"apiGroups": ["evenkeel.dev"], "resources": ["traffichealthpolicies"], "verbs": ["*"]}),
        ];
        if legacy {
            rules.push(
                json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["*"]}),
            );
        }
        let role = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role",
            "metadata": {"name": "policies", "namespace": namespace}, "rules": rules});
        self.apply_json(&[
            bound("edit", "ClusterRole"),
            bound("view", "ClusterRole"),
            role,
            bound("policies", "Role"),
        ])
        .await?;
        client_of(self.kubeconfig_of(namespace, "team").await?.path(), None).await
    }

    async fn apply_json(&self, objects: &[Value]) -> Result<()> {
        for object in objects {
            self.apply_yaml(&object.to_string()).await?;
        }
        Ok(())
    }

    /// A kubeconfig of an account, which is made where it does not exist, with a token of its own.
    pub async fn kubeconfig_of(&self, namespace: &str, name: &str) -> Result<NamedTempFile> {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}});
        self.apply_json(&[account]).await?;
        let token = self.token(namespace, name).await?;
        let mut config: Value = serde_saphyr::from_str(&self.kubeconfig()?)?;
        config["users"][0]["user"] = json!({"token": token});
        let file = NamedTempFile::new()?;
        std::fs::write(file.path(), config.to_string())?;
        Ok(file)
    }

    /// A new token of an account.
    pub async fn token(&self, namespace: &str, account: &str) -> Result<String> {
        self.token_bound(namespace, account, &json!({})).await
    }

    /// A new token of an account that is worth nothing any more once the Secret of this name is deleted.
    pub async fn token_bound_to(&self, namespace: &str, account: &str, secret: &str) -> Result<String> {
        let name = json!({"name": secret, "namespace": namespace});
        self.apply_json(&[json!({"apiVersion": "v1", "kind": "Secret", "metadata": name})])
            .await?;
        let bound = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": secret}});
        self.token_bound(namespace, account, &bound).await
    }

    async fn token_bound(&self, namespace: &str, account: &str, spec: &Value) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())?;
        let client = self.client().await?;
        let made: Value = client.request(request).await.context("asking for a token")?;
        let token = made["status"]["token"].as_str();
        Ok(token.context("no token was made")?.to_owned())
    }
}
