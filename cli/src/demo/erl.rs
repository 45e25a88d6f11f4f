//! A stock `erl` in a process of its own, to which expressions are typed as to its shell.

use std::process::Stdio;
use std::time::Duration;

use beamline::world::World;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long `erl` may take to start, and for an expression.
const PATIENCE: Duration = Duration::from_secs(30);

/// What marks an answer among all else that `erl` may print.
const MARK: &str = "beamline-demo ";

/// Evaluates each line in one process, with the variables of the former ones, and prints its value after the mark. At the
/// end of its input the node ends: it does not outlive the demo, however that ends.
const SHELL: &str = r#"
    Say = fun(Text) -> io:put_chars(["\nbeamline-demo ", Text, "\n"]) end,
    Value = fun(Text, Bindings) ->
        {ok, Tokens, _} = erl_scan:string(Text),
        {ok, Expressions} = erl_parse:parse_exprs(Tokens),
        {value, Result, After} = erl_eval:exprs(Expressions, Bindings),
        {io_lib:format("~0tp", [Result]), After}
    end,
    Read = fun Read(Bindings) ->
        case io:get_line("") of
            Text when is_list(Text) ->
                {Answer, After} = try Value(Text, Bindings)
                    catch Class:Reason -> {io_lib:format("** ~0tp", [{Class, Reason}]), Bindings} end,
                Say(Answer),
                Read(After);
            _ -> halt()
        end
    end,
    spawn(fun() -> Say(erlang:system_info(otp_release)), Read([]) end).
"#;

/// An `erl` that can be started.
pub(super) struct Erl {
    command: String,
}

/// Why there is none.
#[derive(Debug)]
pub(super) struct NoErl(String);

impl std::fmt::Display for NoErl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Erl {
    /// That of the variable `BEAMLINE_ERL`, else the first on the path.
    pub(super) fn find() -> Result<Self, NoErl> {
        let is_there = |file: &std::path::Path| file.is_file();
        if let Some(command) = std::env::var("BEAMLINE_ERL").ok().filter(|command| !command.is_empty()) {
            // A name without a folder is looked up on the path.
            if command.contains('/') {
                let missing = || NoErl(format!("BEAMLINE_ERL is {command}, and there is no such file"));
                return is_there(command.as_ref())
                    .then_some(Self { command: command.clone() })
                    .ok_or_else(missing);
            }
            return Self::on_path(&command);
        }
        Self::on_path("erl")
    }

    fn on_path(name: &str) -> Result<Self, NoErl> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
        match found.as_ref().and_then(|file| file.to_str()) {
            Some(command) => Ok(Self { command: command.to_owned() }),
            None => Err(NoErl(format!("There is no {name} on the PATH"))),
        }
    }

    /// Starts a node, and waits until it answers. It uses the EPMD that is there.
    pub(super) async fn start(
        self,
        world: &World,
        name: &str,
        cookie: &str,
        epmd_port: u16,
    ) -> Result<Shell, String> {
        let mut child = Command::new(&self.command)
            .args(["-name", name, "-setcookie", cookie, "-boot", "no_dot_erlang"])
            .args(["-noshell", "-start_epmd", "false", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"])
            .args(["-eval", SHELL])
            .env("ERL_EPMD_PORT", epmd_port.to_string())
            // A node that is killed leaves no dump behind.
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", self.command))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("erl has no standard input or output".to_owned());
        };
        let output = BufReader::new(output).lines();
        let mut shell = Shell { child, input, output, world: world.clone(), otp_release: String::new() };
        shell.otp_release = shell.answer().await?;
        Ok(shell)
    }
}

/// A running Erlang node. Dropped, it is killed.
pub(super) struct Shell {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    world: World,
    otp_release: String,
}

impl Shell {
    /// Such as `25`.
    pub(super) fn otp_release(&self) -> &str {
        &self.otp_release
    }

    /// Evaluates one line, with its full stop.
    pub(super) async fn eval(&mut self, line: &str) -> Result<String, String> {
        let sent = self.input.write_all(format!("{line}\n").as_bytes()).await;
        sent.map_err(|error| format!("erl has ended: {error}"))?;
        self.answer().await
    }

    /// Kills the node at once, as a power cut would.
    pub(super) async fn kill(mut self) -> Result<(), String> {
        self.child.kill().await.map_err(|error| error.to_string())
    }

    async fn answer(&mut self) -> Result<String, String> {
        let output = &mut self.output;
        let answer = async {
            let mut printed = Vec::new();
            loop {
                match output.next_line().await {
                    Ok(Some(line)) => match line.strip_prefix(MARK) {
                        Some(answer) => return Ok(answer.to_owned()),
                        None => printed.push(line),
                    },
                    Ok(None) | Err(_) => {
                        printed.retain(|line| !line.is_empty());
                        let printed =
                            if printed.is_empty() { "nothing".to_owned() } else { printed.join(" / ") };
                        return Err(format!("erl has ended; it printed: {printed}"));
                    }
                }
            }
        };
        match self.world.timeout(PATIENCE, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("erl did not answer within {} seconds", PATIENCE.as_secs())),
        }
    }
}
