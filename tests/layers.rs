//! The library's layers: a module uses its own and those above it in the list below, never one below it; and only
//! `world` opens sockets.

use std::fs;
use std::path::Path;

/// The layers, from the ground up. `world` is what drivers stand on, and EPMD's are the first of them; a point in
/// time is a number, which cores are given too.
const LAYERS: [&[&str]; 10] = [
    &["term", "etf", "world::Mono"],
    &["dist", "epmd::message", "epmd::registry", "proxy"],
    &["world"],
    &["epmd", "tls"],
    &["process"],
    &["io", "rpc", "logger"],
    &["global"],
    &["node"],
    &[
        "sys",
        "gen_server",
        "gen_statem",
        "supervisor",
        "application",
        "gen_stage",
        "saga",
        "raft",
        "gen_tcp",
        "gen_udp",
        "web",
        "pool",
        "event",
        "gen_event",
    ],
    &["pg", "observer", "cron", "testing"],
];

/// Modules that stand outside: the list of what is public, and what the fuzz targets call.
const OUTSIDE: [&str; 2] = ["lib", "fuzzing"];

/// The layer of a module, by its longest known prefix.
fn layer(module: &[&str]) -> Option<usize> {
    let both = module.iter().take(2).copied().collect::<Vec<_>>().join("::");
    let find = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    find(&both).or_else(|| find(module.first()?))
}

/// A source file's text without comments, string contents kept (none of the library's holds a path).
fn code(source: &str) -> String {
    let lines = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn ident(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The modules that a path names after `crate::`, each with its next segment where there is one:
/// `a::b`, or `{a::b, c}`.
fn targets(path: &str) -> Vec<Vec<&str>> {
    let path = path.trim_start();
    let Some(group) = path.strip_prefix('{') else {
        let first = ident(path);
        let second = path[first.len()..].strip_prefix("::").map(ident).unwrap_or_default();
        let segments = [first, second].into_iter().filter(|segment| !segment.is_empty());
        return vec![segments.collect()];
    };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                found.extend(targets(&group[start..at]));
                start = at + 1;
            }
            '}' if depth == 0 => {
                found.extend(targets(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// What is wrong with one file of the library; `module` is its path from the root, such as `["epmd", "client"]`.
fn faults(module: &[&str], source: &str) -> Vec<String> {
    let name = module.join("::");
    let Some(own) = layer(module) else {
        return vec![format!("{name} is in no layer: add it to the list in tests/layers.rs")];
    };
    let code = code(source);
    // A path from the root, or one that climbs there by `super`.
    let climb = "super::".repeat(module.len());
    let deeper = format!("super::{climb}");
    let rooted = code.match_indices("crate::").map(|(at, text)| at + text.len());
    let climbed = code.match_indices(&climb).filter(|(at, _)| !code[..*at].ends_with("super::"));
    let climbed =
        climbed.filter(|(at, _)| !code[*at..].starts_with(&deeper)).map(|(at, text)| at + text.len());
    let mut faults = Vec::new();
    for at in rooted.chain(climbed) {
        for target in targets(&code[at..]) {
            if let Some(below) = layer(&target).filter(|layer| *layer > own) {
                faults.push(format!(
                    "{name} (layer {own}) uses {}, which is below it (layer {below})",
                    target.join("::")
                ));
            }
        }
    }
    if module.first() != Some(&"world") {
        let sockets = code.contains("tokio::net")
            || code.match_indices("tokio::{").any(|(at, text)| {
                targets(&code[at + text.len() - 1..]).iter().any(|target| target.first() == Some(&"net"))
            });
        if sockets {
            faults.push(format!("{name} uses tokio::net: connections come from `World::net`"));
        }
    }
    faults
}

fn check(folder: &Path, module: &mut Vec<String>, faults_found: &mut Vec<String>, files: &mut usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap().to_owned();
        // Tests may use whatever serves them.
        if matches!(name.as_str(), "tests" | "strategy")
            || (module.is_empty() && OUTSIDE.contains(&name.as_str()))
        {
            continue;
        }
        let is_root = name == "mod";
        if !is_root {
            module.push(name);
        }
        if path.is_dir() {
            check(&path, module, faults_found, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let segments: Vec<_> = module.iter().map(String::as_str).collect();
            faults_found.extend(faults(&segments, &fs::read_to_string(&path).unwrap()));
            *files += 1;
        }
        if !is_root {
            module.pop();
        }
    }
}

#[test]
fn no_module_uses_a_layer_below_its_own() {
    let (mut found, mut files) = (Vec::new(), 0);
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut Vec::new(), &mut found, &mut files);
    assert!(files > 20, "only {files} files were looked at");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_wrong_edge_is_found_however_it_is_written() {
    for wrong in [
        "use crate::node::Node;",
        "use crate::{term::Atom, node};",
        "use crate::{\n    term::{Atom, Pid},\n    node::{self, Node},\n};",
        "fn f() { crate::node::start() }",
        "use super::super::node::Node;",
        "use super::super::{node, process};",
    ] {
        assert_eq!(faults(&["process", "run"], wrong).len(), 1, "{wrong}");
    }
    assert_eq!(faults(&["dist", "channel", "receiver"], "use super::super::super::world::World;").len(), 1);
    assert_eq!(
        faults(&["epmd", "registry"], "use crate::world::World;").len(),
        1,
        "a core is not its driver"
    );
    assert_eq!(faults(&["dist"], "use crate::epmd::Registered;").len(), 1);
    assert_eq!(faults(&["dist", "tick"], "use crate::world::{Mono, World};").len(), 1);
    assert_eq!(faults(&["unheard_of"], "").len(), 1, "a module has to have a layer");
}

#[test]
fn sockets_are_found_outside_the_world() {
    for wrong in [
        "use tokio::net::TcpStream;",
        "use ::tokio::{io, net::TcpStream};",
        "fn f(_: tokio::net::UdpSocket) {}",
    ] {
        assert_eq!(faults(&["node"], wrong).len(), 1, "{wrong}");
        assert_eq!(faults(&["world", "tokio"], wrong), [""; 0]);
    }
    assert_eq!(faults(&["node"], "use std::net::SocketAddr;"), [""; 0]);
}

#[test]
fn right_edges_pass() {
    for right in [
        "use crate::term::Atom;",
        "use crate::process::{Context, Mailbox};",
        "use crate::epmd::Registered;",
        "use super::node::Local;",
        "use crate::world::{Conn, World};",
        "// see crate::gen_server::Server",
        "/// [`Server`](crate::gen_server::Server)",
        "pub(crate) fn f() {}",
    ] {
        assert_eq!(faults(&["process", "run"], right), [""; 0], "{right}");
    }
    assert_eq!(
        faults(&["epmd", "client"], "use crate::world::World;"),
        [""; 0],
        "a driver stands on the world"
    );
    assert_eq!(faults(&["dist", "channel", "receiver"], "use super::super::node::Name;"), [""; 0]);
}
