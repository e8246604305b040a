{
  # For `node-gyp rebuild` and `npm rebuild`: hands over to the CMake build, which finds or installs libtorch.
  "targets": [
    {
      "target_name": "fltac",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake_build",
          "message": "building the native engine with CMake",
          "inputs": [
            "CMakeLists.txt",
            "<!@(node -p \"require('fs').readdirSync('native',{recursive:true}).filter(f=>/[.](cc|h|cu|cuh|hpp)$/.test(f)).map(f=>'native/'+f).join(' ')\")",
          ],
          "outputs": ["<(PRODUCT_DIR)/fltac.node"],
          "action": ["node", "<(module_root_dir)/scripts/build-native.mjs"],
        }
      ],
    }
  ]
}
