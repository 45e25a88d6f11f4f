//! Printing as Erlang does: formats, group leaders, devices. `cargo run --example io`

use beamline::io;
use beamline::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // io_lib:format/2, with all of its controls.
    let order: Term =
        "{order, 17, [{tea, \"Assam\", 2}, {tea, \"Earl Grey\", 1}], #{paid => true, <<\"to\">> => \"Ada\"}}"
            .parse()?;
    print!(
        "{}",
        io::format(
            "~-10s|~8.2f|~4..0B~n~p~n~w~n",
            &["total".into(), 17.5.into(), 42.into(), order.clone(), order]
        )?
    );
    // What does not fit says where.
    println!("{}", io::format("~s and ~s", &["one".into()]).unwrap_err());

    // What reaches the node's `user` is written to the standard output, unless it is told where else.
    let node = Node::builder("shop@127.0.0.1")
        .cookie("secret")
        .user(|text| {
            print!("user> {text}");
            Ok(())
        })
        .start()
        .await?;
    let printed = node.spawn(|cx| async move {
        // Every process has a group leader; processes of an Erlang node may have this node's, and print here.
        let leader = cx.io(cx.group_leader());
        match leader.format("~p of ~p is open~n", &[cx.node_name().clone().into(), Term::atom("tea")]).await {
            Ok(()) => ExitReason::Normal,
            Err(error) => ExitReason::from(Term::from(error.to_string())),
        }
    })?;
    while node.is_process_alive(&printed) {
        tokio::task::yield_now().await;
    }
    // Devices of other nodes are reached in the same way: node.io(("user", "app@127.0.0.1")). This one is nobody.
    println!("{}", node.io("nobody").put_chars("hello\n").await.unwrap_err());
    node.stop().await;
    Ok(())
}
