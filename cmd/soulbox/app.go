package main

import (
	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/sandbox/wide"
)

// commands returns all commands. session is nil outside the wide namespace.
func commands(session *wide.Session) []*cli.Command {
	return []*cli.Command{
		serveCommand(session),
		runCommand(session),
		sandboxCommand(),
		execCommand(),
		shellCommand(),
		attachCommand(),
		cpCommand(),
		statsCommand(),
		topCommand(),
		watchCommand(),
		psCommand(),
		logsCommand(),
		imageCommand(),
		langCommand(session),
		keyCommand(),
		infoCommand(),
		doctorCommand(),
		attemptCommand(),
		configCommand(),
		reloadCommand(),
		upgradeCommand(),
		systemdCommand(),
		versionCommand(),
		completionCommand(),
		completeCommand(),
		manCommand(),
	}
}
