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

# films that are not as most are: fields, other pixels, no names of brands, the first fragment in the index, few pictures
fields='-flags +bitexact+ilme+ildct -preset ultrafast -crf 40 -x264-params interlaced=1 -pix_fmt yuv420p'
ff -f lavfi -i "color=c=gray:size=1920x1080:rate=25:duration=0.4" -c:v libx264 $fields fields.ts
ff -f lavfi -i "color=c=gray:size=1440x1080:rate=25:duration=0.4" -vf setsar=4/3 -c:v libx264 $fields wide.ts
ff -f lavfi -i "color=c=gray:size=640x360:rate=10:duration=2" -flags +bitexact -c:v mpeg4 -g 5 -q:v 31 part2.ts
film -c:v mjpeg -q:v 31 -pix_fmt yuvj420p -c:a pcm_u8 -ar 4000 "$work/camera.mov"
tail -c +21 "$work/camera.mov" >camera.mov
ff -f lavfi -i "testsrc=size=64x48:rate=4:duration=10" -flags +bitexact $h264 -crf 40 -movflags frag_keyframe partly.mp4
ff -f lavfi -i "testsrc=size=64x48:rate=10:duration=0.3" -flags +bitexact -c:v libvpx -f webm -live 1 three.webm
film -c:v wmv2 -q:v 31 -c:a wmav2 -b:a 32k film.wmv
film -c:v libtheora -q:v 0 -c:a libvorbis film.ogv

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
sound -c:a flac -ar 8000 -f ogg flac.ogg
sound -c:a libspeex -ar 8000 -f ogg speex.ogg
sound -c:a adpcm_ms -ar 8000 adpcm.wav
sound -c:a libgsm_ms -ar 8000 gsm.wav
sound -c:a libmp3lame -b:a 32k mp3.wav
sound -c:a pcm_s16le -ar 4000 -rf64 always rf64.wav
sound -c:a mp2 -b:a 32k layer2.mp2
sound -c:a ac3 -b:a 32k sound.ac3
sound -c:a eac3 -b:a 32k sound.eac3
sound -c:a wmav2 -b:a 32k sound.wma
