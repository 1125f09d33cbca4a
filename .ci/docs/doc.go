// Command docs runs the commands of Markdown documents, and fails where they do not do what the documents say.
//
//	docs -soulbox bin/soulbox README.md docs/*.md
//
// Each document has a copy of the clone to itself, a home directory, an address for its daemon and one shell, in which its
// blocks run in order:
//
//	```sh                 commands; lines of comment below one are what it prints
//	```console            a transcript: commands after "$ ", below each exactly what it prints
//	```console terminal   the same of one command with a terminal: the lines after prompts are typed into it
//	```sh norun REASON    not run; the reason is printed with the document's result
//	```toml soulbox.toml  a file, written before what comes next runs
//	```text               anything else is for reading; a block without a language is a mistake
//
// A command that fails fails the document, unless the next one is "echo $?". Where a document starts `soulbox serve`, what
// comes after waits until the daemon is ready; 127.0.0.1:4444 stands for the address that it has here.
//
// Of what is printed, "…" or "..." stands for anything on its line, and for any lines when it is alone on one. Durations,
// decimals, sizes, times and ids need only be such; all else must be the same.
package main
