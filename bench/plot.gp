# SPDX-License-Identifier: GPL-2.0-or-later
#
# Plots of the tables in a folder; called by bench/run with the variables dir, unit
# and footer.
set terminal svg size 1000,560 dynamic font 'sans,12' background '#ffffff'
set datafile separator ','
show_footer = "set label 1 footer at screen 0.5, screen 0.02 center font ',10' tc rgb '#555555'"
set key noenhanced
set format y '%.0s %c'
set grid
set logscale xy

operations = 'plain relocate must relocate_dontunmap uffdio_move copy'
shown(i) = word(operations, i)
plain_words(s) = strlen(s) > 12 && s[1:9] eq 'relocate_' ? 'relocate, dontunmap' : s

set xlabel 'size'
set xtics ('4 KiB' 4096, '64 KiB' 65536, '2 MiB' 2097152, '64 MiB' 67108864, '1 GiB' 1073741824)
set xrange [2048:2147483648]

# A table of rows that fit: operation, folio, congruent, and a figure by size
rows(table, op, folio, congruent, column) = sprintf( \
	"< awk -F, -v OFS=, '$1 == \"%s\" && $2 == %d && $3 == \"%s\" && $4 == 100 { print $5, $%d }' '%s/%s.csv'; echo 1,NaN", \
	op, folio, congruent, column, dir, table)

folios = '4 64 2048 0'
names = '"4 KiB folios" "64 KiB folios" "huge pages of 2 MiB" "swapped-out pages"'
files = '4k 64k 2m swapped'

do for [f = 1:4] {
	folio = word(folios, f) + 0
	do for [t = 1:2] {
		table = word('moves holds', t)
		column = t == 1 ? 6 : 8
		set output sprintf('%s/%s-%s.svg', dir, table, word(files, f))
		set multiplot layout 1,2 margins 0.07,0.98,0.16,0.86 spacing 0.08 title sprintf('%s of memory with %s', \
			t == 1 ? 'Moves' : 'How long moves hold mmap\_lock for writing,', word(names, f))
		eval show_footer
		do for [c = 1:2] {
			set title (c == 1 ? 'congruent modulo 2 MiB' : 'not congruent')
			set ylabel (c == 2 ? '' : t == 1 ? unit.' per page of 4 KiB' : unit) offset 1.5,0
			if (t == 1) {
				set yrange [1:1000000]	# room for the key
				set key top right font ',10'
			} else {
				set yrange [*:*]
				set key top left font ',10'
			}
			plot for [i = 1:6] rows(table, shown(i), folio, word('yes no', c), column) \
				using 1:2 with linespoints lw 2 pt i title plain_words(shown(i))
			unset label 1
		}
		unset multiplot
	}
}

# What N mappings cost that could be one
quantities = '"read maps" fork "munmap of all" "page fault" mmap munmap metadata mappings'
bought(move, quantity) = sprintf( \
	"< awk -F, -v OFS=, '$1 == \"separate\" && $3 == \"%s\" && $4 == \"%s\" { print $2, $6 }' '%s/buys.csv'; echo 1,NaN", \
	move, quantity, dir)
set terminal svg size 1200,700 dynamic font 'sans,12' background '#ffffff'
set output dir.'/buys.svg'
set yrange [*:*]
set xlabel 'moved pages'
set xtics ('10' 10, '1,000' 1000, '60,000' 60000)
set xrange [5:120000]
set multiplot layout 2,4 margins 0.06,0.98,0.13,0.9 spacing 0.06,0.14 title 'What later calls cost, by the number of pages that were moved side by side'
eval show_footer
unset ylabel
do for [q = 1:8] {
	quantity = word(quantities, q)
	set title quantity.(q < 7 ? ', '.unit : q == 7 ? ', KiB' : '')
	set key top left font ',10'
	plot for [i = 1:2] bought(word('plain relocate', i), quantity) \
		using 1:2 with linespoints lw 2 pt i title word('plain relocate', i)
	unset label 1
}
unset multiplot
