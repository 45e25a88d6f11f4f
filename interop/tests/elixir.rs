//! An Elixir node, with Elixir's own words for it all.

#![expect(clippy::disallowed_methods, reason = "tests against programs of this host")]

use std::process::{Command, Stdio};

use beamline_interop::{COOKIE, Cluster, skipped, within};

const SCRIPT: &str = r#"
catch_exit = fn f -> try do f.() catch :exit, reason -> reason end end
node = :"fixture@127.0.0.1"
:pong = Node.ping(node)
[^node] = Node.list()
5 = GenServer.call({:counter, node}, {:add, 5})
:ok = GenServer.cast({:counter, node}, {:add, 2})
7 = GenServer.call({:counter, node}, :get)
term = %{"utf-8: ä" => [1.5, nil, {:ok, <<3::3>>}], list: 'chars', range: 1..3}
^term = GenServer.call({:echo, node}, term)
send({:echo, node}, {self(), :hello})
:hello = receive do {:echo, hello} -> hello after 5000 -> :none end
monitor = Process.monitor({:counter, node})
{:timeout, _} = catch_exit.(fn -> GenServer.call({:counter, node}, :noreply, 10) end)
:ok = GenServer.call({:counter, node}, {:stop, :shutdown})
:shutdown = receive do {:DOWN, ^monitor, :process, {:counter, ^node}, reason} -> reason after 5000 -> :none end
{:ok, victim} = GenServer.call({:relations, node}, {:spawn_victim})
Process.flag(:trap_exit, true)
Process.link(victim)
send(victim, {:stop, {:shutdown, :told}})
{:shutdown, :told} = receive do {:EXIT, ^victim, reason} -> reason after 5000 -> :none end
{{:nodedown, _}, _} = catch_exit.(fn -> GenServer.call({:echo, :"nobody@127.0.0.1"}, 1) end)
IO.puts("elixir is content")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn elixir_calls_monitors_links_and_pings() {
    let Some(cluster) = Cluster::start().await else { return };
    let found = Command::new("elixir").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !matches!(&found, Ok(status) if status.success()) {
        skipped(&format!("elixir does not run ({found:?})"));
        return;
    }
    let _fixture = cluster.fixture("fixture", &[]).await;
    let epmd_port = cluster.epmd_port().to_string();
    let run = tokio::task::spawn_blocking(move || {
        Command::new("elixir")
            .args(["--name", "elixir@127.0.0.1", "--cookie", COOKIE])
            .args(["--erl", "-start_epmd false", "-e", SCRIPT])
            .env("ERL_EPMD_PORT", epmd_port)
            .stdin(Stdio::null())
            .output()
            .expect("elixir ran before")
    });
    let output = within("the script ends", run).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("elixir is content"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
