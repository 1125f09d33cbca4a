// Command plot draws the columns of a CSV file over the first one as an SVG picture.
//
//	plot -title TITLE -y LABEL -o FILE.svg FILE.csv
//
// The file's first line names the columns; the first column is the horizontal axis. It has a module of its own so that
// what it needs is none of SoulBox's dependencies.
package main
