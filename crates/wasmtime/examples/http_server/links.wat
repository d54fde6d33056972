;; Where short links lead. The program is warmed up with a text of lines, each a path, a space and an
;; address; it makes a hash table of them and then looks paths up, one for each request. It counts how
;; often it was asked for each line, as programs do that keep something from one request to the next.
(module
    ;; The first page is for the path of a request, which a space ends.
    (memory (export "memory") 1)
    ;; 32,768 slots: the address of a line, or 0, and how often it was asked for.
    (global $table (mut i32) (i32.const 0))

    ;; Room for a text of so many bytes.
    (func (export "room") (param $bytes i32) (result i32)
        (i32.shl (memory.grow (i32.shr_u (i32.add (local.get $bytes) (i32.const 65535)) (i32.const 16)))
            (i32.const 16)))

    (func (export "warm") (param $line i32) (param $end i32)
        (global.set $table (i32.shl (memory.grow (i32.const 4)) (i32.const 16)))
        (loop $lines
            (i32.store (call $slot (local.get $line)) (local.get $line))
            (local.set $line (i32.add (call $until (local.get $line) (i32.const 10)) (i32.const 1)))
            (br_if $lines (i32.lt_u (local.get $line) (local.get $end)))))

    ;; Where the request's path leads: the address of the bytes, and how many they are; 0 when nobody knows.
    (func (export "look_up") (result i64)
        (local $slot i32) (local $from i32)
        ;; A mistake of the program's, for requests that never end.
        (if (i32.eq (i32.load8_u offset=1 (i32.const 0)) (i32.const 33)) (then (loop (br 0))))
        (local.set $slot (call $slot (i32.const 0)))
        (if (i32.eqz (i32.load (local.get $slot))) (then (return (i64.const 0))))
        (i32.store offset=4 (local.get $slot) (i32.add (i32.load offset=4 (local.get $slot)) (i32.const 1)))
        (local.set $from
            (i32.add (call $until (i32.load (local.get $slot)) (i32.const 32)) (i32.const 1)))
        (i64.or (i64.shl (i64.extend_i32_u (local.get $from)) (i64.const 32))
            (i64.extend_i32_u (i32.sub (call $until (local.get $from) (i32.const 10)) (local.get $from)))))

    ;; The slot of the path that stands there, or that in which it would stand.
    (func $slot (param $path i32) (result i32)
        (local $hash i32) (local $at i32) (local $slot i32) (local $line i32)
        (local.set $at (local.get $path))
        (local.set $hash (i32.const 0x811c9dc5))
        (loop $bytes
            (local.set $hash
                (i32.mul (i32.xor (local.get $hash) (i32.load8_u (local.get $at))) (i32.const 0x01000193)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $bytes (i32.ne (i32.load8_u (local.get $at)) (i32.const 32))))
        (loop $slots (result i32)
            (local.set $slot (i32.add (global.get $table)
                (i32.shl (i32.and (local.get $hash) (i32.const 32767)) (i32.const 3))))
            (local.set $line (i32.load (local.get $slot)))
            (local.set $hash (i32.add (local.get $hash) (i32.const 1)))
            (br_if $slots (i32.and (i32.ne (local.get $line) (i32.const 0))
                (i32.eqz (call $same (local.get $line) (local.get $path)))))
            (local.get $slot)))

    ;; Whether two paths are the same, up to the spaces that end them.
    (func $same (param $a i32) (param $b i32) (result i32)
        (local $byte i32)
        (loop $bytes
            (local.set $byte (i32.load8_u (local.get $a)))
            (if (i32.ne (local.get $byte) (i32.load8_u (local.get $b))) (then (return (i32.const 0))))
            (local.set $a (i32.add (local.get $a) (i32.const 1)))
            (local.set $b (i32.add (local.get $b) (i32.const 1)))
            (br_if $bytes (i32.ne (local.get $byte) (i32.const 32))))
        (i32.const 1))

    ;; The first place with this byte.
    (func $until (param $at i32) (param $byte i32) (result i32)
        (loop $bytes (result i32)
            (if (i32.eq (i32.load8_u (local.get $at)) (local.get $byte)) (then (return (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $bytes))))
