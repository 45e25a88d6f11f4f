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
# Functions, tasks of them, processes.
42 = :rpc.call(node, :fixture, :double, [21])
42 = :erpc.call(node, :fixture, :double, [21])
{:badrpc, {:EXIT, {:undef, [{:fixture, :unheard, [1], _} | _]}}} = :rpc.call(node, :fixture, :unheard, [1])
[4, 8] = [2, 4] |> Enum.map(&Task.async(fn -> :erpc.call(node, :fixture, :double, [&1]) end)) |> Task.await_many()
pid = Node.spawn_link(node, :fixture, :reply_to, [self(), :spawned])
:spawned = receive do :spawned -> :spawned after 5000 -> :none end
:normal = receive do {:EXIT, ^pid, reason} -> reason after 5000 -> :none end
# Groups: the fixture's echo is in one, and this process joins another.
{:ok, _} = :pg.start_link()
echo = :rpc.call(node, :erlang, :whereis, [:echo])
wait = fn wait, f -> f.() || (Process.sleep(5); wait.(wait, f)) end
wait.(wait, fn -> :pg.get_members(:fixture) == [echo] end)
:ok = :pg.join(:elixirs, self())
wait.(wait, fn -> :rpc.call(node, :pg, :get_members, [:elixirs]) == [self()] end)
# Inside.

:ok = :global.sync()
me = self()
:yes = :global.register_name({:elixir, 1}, me)
^me = :rpc.call(node, :global, :whereis_name, [{:elixir, 1}])
:yes = :rpc.call(node, :global, :register_name, [:its_echo, echo])
^echo = :global.whereis_name(:its_echo)
:done = :global.trans({:elixir, me}, fn -> :done end)
:ok = :global.unregister_name({:elixir, 1})
:undefined = :rpc.call(node, :global, :whereis_name, [{:elixir, 1}])

{:registered_name, :echo} = :rpc.call(node, :erlang, :process_info, [echo, :registered_name])
true = Keyword.fetch!(:rpc.call(node, :observer_backend, :sys_info, []), :process_count) > 5
children = Supervisor.which_children({:fixture_sup, node})
true = Enum.any?(children, fn {_, pid, _, _} -> pid == echo end)
IO.puts("elixir is content")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn elixir_calls_monitors_links_spawns_and_looks_inside() {
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
