//! A control plane from the command line: to look around in, to run a command
//! against, to measure with.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use evenkeel_e2e::binaries::{Binaries, Program};
use evenkeel_e2e::control_plane::{ControlPlane, KUBECONFIG_ENV};
use evenkeel_e2e::kind_bed::{self, KindBed, KindOptions};
use evenkeel_e2e::load::{Size, load};
use evenkeel_e2e::monitoring::{Programs, node_exporter};
use evenkeel_e2e::node_bed::{self, Detection, NodeBed, NodeOptions, POD_IMAGE, ProxyMode};
use evenkeel_e2e::{Options, client_of, standing};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// What stands at the end of `--help`.
const HELP: &str = "Examples:
  evenkeel-bed up --kwok                                    a control plane; prints the path of a kubeconfig
  evenkeel-bed load --kubeconfig FILE --size 500            500 nodes and 1,000 Services into it
  evenkeel-bed nodes up 3                                   three real nodes, until `evenkeel-bed nodes down`
  evenkeel-bed exec -- kubectl get namespaces               one command against a new control plane

Exit codes: 0 done, 1 a program is missing or has failed; of `exec` the code of the command.";

#[derive(Parser)]
#[command(about = "A real control plane on this machine, without containers", after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Find, build or fetch every program, and print where each one is
    Build,
    /// Start a control plane, print its kubeconfig's path, run until ctrl-c
    Up(Shape),
    /// Fill a cluster with nodes, Services and endpoints, and print the rates
    Load {
        /// The kubeconfig of the cluster; there is no default
        #[arg(long)]
        kubeconfig: PathBuf,
        /// Nodes, such as 500 or 5k; two Services a node, 15 endpoints a Service
        #[arg(long)]
        size: Size,
        /// Make Pods for so many of the endpoints
        #[arg(long, default_value_t = 0)]
        pods: u32,
    },
    /// Real nodes with kubelets, as namespaces of this machine; needs root
    Nodes {
        #[command(subcommand)]
        action: Nodes,
    },
    /// A cluster of kind, on the container engine that answers or on one started for it
    Kind {
        #[command(subcommand)]
        action: Kind,
    },
    /// Start a control plane and panic: what happens to its folder then is tested
    #[command(hide = true)]
    Panic(Shape),
    /// Run a command against a new control plane and end with its exit code
    Exec {
        #[command(flatten)]
        shape: Shape,
        /// The command, which gets `KUBECONFIG` and `EVENKEEL_E2E_KUBECONFIG`
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

#[derive(Subcommand)]
enum Nodes {
    /// Install, find or build all that nodes need, and print where each program is
    Build,
    /// Start nodes, print the kubeconfig's path, run until ctrl-c or `nodes down`
    Up {
        /// How many
        #[arg(default_value_t = 1)]
        nodes: u8,
        /// How Service addresses are translated
        #[arg(long, value_enum, default_value_t)]
        proxy_mode: ProxyMode,
        /// Notice a silent node after 20 s instead of 50 s
        #[arg(long)]
        quick: bool,
        /// Image files for every node, such as that of `make image`
        #[arg(long)]
        image: Vec<PathBuf>,
    },
    /// End what `nodes up` started from this checkout
    Down,
}

#[derive(Subcommand)]
enum Kind {
    /// Install, find or build all that a cluster needs, and print where each program is
    Build,
    /// Make a cluster, print the kubeconfig's path, run until ctrl-c or `kind down`
    Up {
        /// Workers beside the control plane
        #[arg(default_value_t = 0)]
        workers: u8,
        /// The node image, instead of kind's own or one built here
        #[arg(long)]
        node_image: Option<String>,
        /// Image files to load, such as that of `make image`
        #[arg(long)]
        image: Vec<PathBuf>,
    },
    /// End what `kind up` started from this checkout
    Down,
}

#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Args)]
struct Shape {
    /// API servers side by side
    #[arg(long, default_value_t = 1)]
    api_servers: usize,
    /// Leave out the built-in controllers
    #[arg(long)]
    no_controller_manager: bool,
    /// Start the scheduler
    #[arg(long)]
    scheduler: bool,
    /// Start kwok, for nodes annotated kwok.x-k8s.io/node=fake
    #[arg(long)]
    kwok: bool,
    /// Write audit logs
    #[arg(long)]
    audit: bool,
}

impl From<Shape> for Options {
    fn from(shape: Shape) -> Self {
        Self {
            api_servers: shape.api_servers,
            controller_manager: !shape.no_controller_manager,
            scheduler: shape.scheduler,
            kwok: shape.kwok,
            audit: shape.audit,
            ..Self::default()
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Cli::parse().action {
        Action::Build => {
            // The demo goes on without, and a test that needs them says so.
            if let Err(why) = Programs::find_or_fetch() {
                eprintln!("no Prometheus and no Alertmanager: {why:#}");
            }
            if let Err(why) = node_exporter() {
                eprintln!("no node_exporter: {why:#}");
            }
            Ok(print(&Binaries::find_or_build(&Program::CONTROL_PLANE)?))
        }
        Action::Up(shape) => up(shape.into()).await,
        Action::Load {
            kubeconfig,
            size,
            pods,
        } => fill(&kubeconfig, Size { pods, ..size }).await,
        Action::Nodes { action: Nodes::Build } => Ok(print(&node_bed::prepare()?)),
        Action::Nodes { action: Nodes::Down } => {
            standing::end("nodes")?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Nodes {
            action:
                Nodes::Up {
                    nodes,
                    proxy_mode,
                    quick,
                    image,
                },
        } => {
            let detection = if quick { Detection::Quick } else { Detection::Stock };
            let options = NodeOptions {
                proxy_mode,
                detection,
                ..NodeOptions::nodes(nodes)
            };
            nodes_up(options, &image).await
        }
        Action::Kind { action: Kind::Build } => Ok(print(&kind_bed::prepare()?)),
        Action::Kind { action: Kind::Down } => {
            standing::end("kind")?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Kind {
            action:
                Kind::Up {
                    workers,
                    node_image,
                    image,
                },
        } => {
            let options = KindOptions {
                workers,
                image: node_image,
            };
            kind_up(options, &image).await
        }
        Action::Panic(shape) => fail(shape.into()).await,
        Action::Exec { shape, command } => exec(shape.into(), &command).await,
    }
}

fn print(binaries: &Binaries) -> ExitCode {
    for (program, path) in binaries.iter() {
        println!("{} {}", program.file_name(), path.display());
    }
    ExitCode::SUCCESS
}

#[expect(clippy::panic, reason = "it is asked for")]
async fn fail(options: Options) -> Result<ExitCode> {
    let _plane = ControlPlane::start(options).await?;
    panic!("as asked");
}

async fn up(options: Options) -> Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    let plane = ControlPlane::start(options).await?;
    println!("{}", plane.kubeconfig_path().display());
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminated.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn nodes_up(options: NodeOptions, images: &[PathBuf]) -> Result<ExitCode> {
    let _mark = standing::Mark::set("nodes")?;
    let mut terminated = signal(SignalKind::terminate())?;
    let started = Instant::now();
    let mut bed = tokio::select! {
        bed = NodeBed::start_with(options) => bed?,
        _ = terminated.recv() => give_up(),
    };
    for image in images {
        bed.import_image(image)?;
    }
    eprintln!(
        "{} nodes are Ready after {:.1} s; images must be local (imagePullPolicy: Never): {POD_IMAGE}",
        bed.nodes().len(),
        started.elapsed().as_secs_f64()
    );
    println!("{}", bed.kubeconfig_path().display());
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminated.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends in the middle of a start, without waiting for builds and downloads; the
/// kernel ends what was started.
fn give_up() -> ! {
    std::process::exit(1)
}

async fn kind_up(options: KindOptions, images: &[PathBuf]) -> Result<ExitCode> {
    let _mark = standing::Mark::set("kind")?;
    let mut terminated = signal(SignalKind::terminate())?;
    let started = Instant::now();
    let bed = tokio::select! {
        bed = KindBed::start(options) => bed?,
        _ = terminated.recv() => give_up(),
    };
    for image in images {
        bed.load_image(image)?;
    }
    eprintln!("kind is Ready after {:.1} s", started.elapsed().as_secs_f64());
    for (name, value) in bed.engine_variables() {
        eprintln!("its engine: {name}={value}");
    }
    println!("{}", bed.kubeconfig_path().display());
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminated.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn fill(kubeconfig: &Path, size: Size) -> Result<ExitCode> {
    let client = client_of(kubeconfig, None).await?;
    load(&client, &size, |stage| {
        println!(
            "{} {} in {:.1} s, {:.0}/s",
            stage.count,
            stage.kind,
            stage.took.as_secs_f64(),
            stage.rate()
        );
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

async fn exec(options: Options, command: &[OsString]) -> Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    let plane = ControlPlane::start(options).await?;
    let (program, args) = command.split_first().context("no command")?;
    let mut child = Command::new(program)
        .args(args)
        .env("KUBECONFIG", plane.kubeconfig_path())
        .env(KUBECONFIG_ENV, plane.kubeconfig_path())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    // A ctrl-c reaches the command too, which decides what it means; we stay for its end.
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            result = tokio::signal::ctrl_c() => result?,
            _ = terminated.recv() => return Ok(ExitCode::FAILURE),
        }
    };
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}
