//! Links, monitors, exits and aliases between an Erlang node and ours, in both directions. The same scenarios run between two
//! Erlang nodes first: what they expect is what Erlang does.

use beamline_interop::{Cluster, ErlNode, puppet};

const RELATIONS: &str = include_str!("erlang/relations.erl");

async fn erl_with_puppets(cluster: &Cluster, name: &str) -> ErlNode {
    let mut erl = cluster.erl(name).start().await;
    erl.load(puppet::ERLANG).await;
    erl.load(RELATIONS).await;
    erl.eval("puppet:start()").await;
    erl
}

async fn run_all(erl: &mut ErlNode, x: &str, y: &str) {
    let names = erl.eval("relations:names()").await;
    let failures = format!(
        "[Failure || Name <- relations:names(),
         Failure <- try relations:run(Name, '{x}', '{y}') of Name -> []
                    catch Class:Reason:Stack -> [{{Name, Class, Reason, hd(Stack)}}] end]"
    );
    assert_eq!(erl.eval(&failures).await, "[]", "of {names} between {x} and {y}");
}

#[tokio::test(flavor = "multi_thread")]
async fn erlang_does_to_erlang_what_the_scenarios_expect() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut one = erl_with_puppets(&cluster, "one").await;
    let two = erl_with_puppets(&cluster, "two").await;
    run_all(&mut one, "one@127.0.0.1", two.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erlang_does_to_us_what_it_does_to_erlang() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_puppets(&cluster, "erl").await;
    let rust = cluster.node("rust").await;
    puppet::start(&rust);
    run_all(&mut erl, "erl@127.0.0.1", "rust@127.0.0.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_do_to_erlang_what_erlang_does_to_us() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_puppets(&cluster, "erl").await;
    let rust = cluster.node("rust").await;
    puppet::start(&rust);
    run_all(&mut erl, "rust@127.0.0.1", "erl@127.0.0.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_nodes_do_to_each_other_what_erlang_nodes_do() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_puppets(&cluster, "erl").await;
    let (one, two) = (cluster.node("rust1").await, cluster.node("rust2").await);
    puppet::start(&one);
    puppet::start(&two);
    run_all(&mut erl, "rust1@127.0.0.1", "rust2@127.0.0.1").await;
    run_all(&mut erl, "rust1@127.0.0.1", "rust1@127.0.0.1").await;
}
