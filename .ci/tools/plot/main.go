package main

import (
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

const width, height = 8 * vg.Inch, 3.2 * vg.Inch

func main() {
	title := flag.String("title", "", "`TEXT` above the picture")
	y := flag.String("y", "", "`TEXT` of the vertical axis")
	out := flag.String("o", "", "`FILE` to write; its ending says the format")
	flag.Parse()
	if err := run(*title, *y, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(title, y, out string, args []string) error {
	if out == "" || len(args) != 1 {
		return errors.New("usage: plot -title TITLE -y LABEL -o FILE.svg FILE.csv")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	names, columns, err := read(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", args[0], err)
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, names[0], y
	p.Y.Min, p.Legend.Top = 0, true
	p.Add(plotter.NewGrid())
	for i, name := range names[1:] {
		line := make(plotter.XYs, len(columns[0]))
		for n, x := range columns[0] {
			line[n] = plotter.XY{X: x, Y: columns[i+1][n]}
		}
		l, err := plotter.NewLine(line)
		if err != nil {
			return fmt.Errorf("draw %s: %w", name, err)
		}
		l.Color = plotutil.Color(i)
		p.Add(l)
		p.Legend.Add(name, l)
	}
	return p.Save(width, height, out)
}

// read returns the names of the columns and their numbers.
func read(r io.Reader) (names []string, columns [][]float64, err error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, nil, err
	}
	if len(rows) < 2 || len(rows[0]) < 2 {
		return nil, nil, errors.New("it needs a line of names, a line of numbers, and two columns")
	}
	columns = make([][]float64, len(rows[0]))
	for n, row := range rows[1:] {
		for i, text := range row {
			x, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, nil, fmt.Errorf("line %d, column %s: %w", n+2, rows[0][i], err)
			}
			columns[i] = append(columns[i], x)
		}
	}
	return rows[0], columns, nil
}
