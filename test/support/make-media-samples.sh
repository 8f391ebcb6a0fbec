#!/bin/sh
# Makes test/samples/media/. Needs ffmpeg, ImageMagick and libheif-examples. The results are committed; run it only to add one.
set -eu
cd "$(dirname "$0")/../samples"
mkdir -p media
cd media
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

seconds=2
picture="testsrc=size=64x48:rate=10:duration=$seconds"
tone="sine=frequency=440:sample_rate=44100:duration=$seconds"
ff() { ffmpeg -nostdin -hide_banner -loglevel error -y -fflags +bitexact "$@"; }
film() { ff -f lavfi -i "$picture" -f lavfi -i "$tone" -shortest -flags +bitexact "$@"; }
sound() { ff -f lavfi -i "$tone" -flags +bitexact "$@"; }
h264='-c:v libx264 -pix_fmt yuv420p -g 10'
aac='-c:a aac -b:a 32k'

# images
ff -f lavfi -i "$picture" -frames:v 8 "$work/%d.png"
still="$work/1.png"
convert "$still" -strip still.jpg
convert "$still" -strip still.png
convert "$still" -strip still.gif
convert "$still" -strip still.webp
convert "$still" -strip still.bmp
convert "$still" -strip -compress lzw still.tiff
convert "$work/1.png" "$work/2.png" "$work/3.png" -strip -compress lzw pages.tiff
convert \( "$still" -resize 16x12! \) \( "$still" -resize 48x36! \) icon.ico
convert "$still" -define icon:auto-resize=256 large.ico
convert -delay 20 "$work"/[1-8].png -strip -loop 0 animated.gif
ff -f lavfi -i "$picture" -c:v libwebp_anim -loop 0 animated.webp
ff -f lavfi -i "$picture" -c:v libaom-av1 -cpu-used 8 -pix_fmt yuv420p animated.avif
heif-enc -A -q 40 -o still.avif "$still" >/dev/null
heif-enc -q 40 -o still.heic "$still" >/dev/null
convert "$still" -resize 96x72! "$work/large.png"
heif-enc -q 40 -o pair.heic "$still" "$work/large.png" >/dev/null

# films
film $h264 $aac end.mp4
film $h264 $aac -movflags +faststart start.mp4
ff -i end.mp4 -c copy -metadata:s:v:0 rotate=90 rotated.mp4
film $h264 $aac -movflags +frag_keyframe+empty_moov+default_base_moof fragmented.mp4
film $h264 $aac -movflags +frag_keyframe+empty_moov+default_base_moof+skip_trailer unindexed.mp4
film $h264 $aac film.mov
film -c:v libx265 -x265-params log-level=none -tag:v hvc1 -pix_fmt yuv420p $aac hevc.mp4
film -c:v libvpx-vp9 -c:a libopus -b:a 32k film.webm
film -c:v libvpx -c:a libvorbis -f webm -live 1 live.webm
film $h264 $aac film.mkv
film -c:v mpeg4 -c:a libmp3lame -b:a 32k film.avi
film -c:v mjpeg -pix_fmt yuvj420p -c:a pcm_s16le -ar 8000 mjpeg.avi
film $h264 $aac film.ts
film -c:v mpeg2video -r 25 -c:a mp2 -b:a 32k mpeg2.ts
film $h264 $aac -f mpegts -mpegts_m2ts_mode 1 film.m2ts

# sounds
sound -c:a libmp3lame -b:a 32k constant.mp3
sound -c:a libmp3lame -q:a 9 variable.mp3
sound -c:a libmp3lame -q:a 9 -write_xing 0 plain.mp3
sound -ar 8000 sound.wav
sound -c:a flac -ar 8000 sound.flac
sound -c:a libvorbis sound.ogg
sound -c:a libopus -b:a 24k sound.opus
sound $aac sound.m4a
sound $aac sound.aac
