#!/usr/bin/env bash
# Trains a network for loops on maps with planted loops, and compares it with loop callers at 1/16 of the
# contacts: the table of docs/how-to/loops.md. About twenty minutes on one CPU core.
#
#   benchmarks/loops.sh ARABIDOPSIS.cool HUMAN21.mcool HUMAN20.cool PLASMODIUM.cool FOLDER
#
# Bins of 30, 10, 25 and 10 kb. Targets are the loops of cooltools.dots on the whole maps with planted loops.
# HUMAN20, PLASMODIUM, and Chr2 and Chr4 of Arabidopsis are not trained on, Chr5 validates.
set -euo pipefail
arabidopsis=$1 human21=$2 human20=$3 plasmodium=$4 folder=$5
mkdir -p "$folder"

# plant NAME MAP BP SEED LOOPS_PER_MB
plant() {
    hicfm simulate "$folder/$1.cool" --input="$2" --resolution="$3" --loops="$5" --seed="$4"
}

# call NAME BP PLANTED: the loops of cooltools.dots, in $folder/NAME.calls
call() {
    hicfm evaluate map="$folder/$1.cool" --reference="$3" --loops=planted="$3" --resolution="$2" \
        --output="$folder/$1.calls"
}

# cut NAME BP [FLAG ...]: tiles of all maps of that name
cut() {
    local name=$1 bp=$2 inputs=()
    shift 2
    for file in "$folder/$name"-*.cool; do
        map=$(basename "$file" .cool)
        inputs+=(--input="$map=$file" --loops="$map=$folder/$map.calls/cooltools.dots_of_map.bedpe")
    done
    hicfm tiles "${inputs[@]}" --resolution="$bp" --mode=diagonal --tile_size=224 --stride=37 \
        --output="$folder/tiles_$name" "$@"
}

for seed in 21 22 23; do
    plant "arabidopsis-$seed" "$arabidopsis" 30000 "$seed" 2.5
    call "arabidopsis-$seed" 30000 "$folder/arabidopsis-$seed.cool.bedpe"
done
for seed in 21 22 23 24; do
    planted=$folder/human10-$seed.cool.bedpe
    plant "human10-$seed" "$human21" 10000 "$seed" 2.5
    call "human10-$seed" 10000 "$planted"
    for factor in 2 3; do
        cooler coarsen -k $factor -o "$folder/human${factor}0-$seed.cool" "$folder/human10-$seed.cool"
        call "human${factor}0-$seed" ${factor}0000 "$planted"
    done
done
cut arabidopsis 30000 --val_chromosomes=Chr5 --test_chromosomes=Chr2,Chr4
cut human10 10000
cut human20 20000
cut human30 30000

tiles=$folder/tiles_arabidopsis,$folder/tiles_human10,$folder/tiles_human20,$folder/tiles_human30
hicfm train finetune_loop:demo "$folder/run" --config.data.tiles="$tiles" --config.data.thin=0.0625,1.0

# judge NAME MAP BP REFERENCE [FLAG ...]
judge() {
    local name=$1 map=$2 bp=$3 reference=$4
    shift 4
    hicfm thin "$map" "$folder/$name.cool" --resolution="$bp" --fraction=0.0625 --seed=11
    hicfm infer "$folder/$name.cool" "$folder/$name.bedpe" --task=loop --resolution="$bp" \
        --checkpoint="$folder/run"
    hicfm evaluate input="$folder/$name.cool" --loops=network="$folder/$name.bedpe" \
        --reference="$reference" --resolution="$bp" --output="$folder/scores_$name" "$@"
}

plant arabidopsis_judge "$arabidopsis" 30000 9 1.5
plant plasmodium_judge "$plasmodium" 10000 9 3
judge human20 "$human20" 25000 "$human20"
judge arabidopsis "$folder/arabidopsis_judge.cool" 30000 "$folder/arabidopsis_judge.cool.bedpe" \
    --chromosomes=Chr2,Chr4
judge plasmodium "$folder/plasmodium_judge.cool" 10000 "$folder/plasmodium_judge.cool.bedpe"
